# The ways in. `make up` and `make test` work on a fresh Debian 12 with Rust; everything else they need they install.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build up down test check conformance crash fuzz fmt lint unit e2e e2e-vm e2e-go bench clean

TARGET := x86_64-unknown-linux-gnu
RKCTL := target/$(TARGET)/release/rkctl
LAB := demo
# Debian's packages: to build, to make lab hosts, and what the tests drive.
PACKAGES := build-essential protobuf-compiler \
	mmdebstrap systemd-container iproute2 nftables kmod openssh-client openssh-server containerd runc busybox-static conntrack curl git
PACKAGES_TEST := vagrant etcd-server iputils-ping openssl python3 python3-kubernetes nodejs npm
# The conformance suite: its sources, and what runs in its pods.
PACKAGES_CONFORMANCE := dpkg-dev etcd-server python3
# A virtual machine: the emulator and what writes its disk.
PACKAGES_VM := qemu-system-x86 e2fsprogs
# Peers that are measured beside us: etcd, nginx (openssh-client is among the others).
PACKAGES_BENCH := etcd-server nginx

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/'

setup: ## Install Debian's packages and kubectl (into target/tools)
	@src/xtask/setup.sh $(PACKAGES)

# `/version` names the commit of what was built for release; other builds say zeros, and are not made again for a commit.
build bench: export RKCTL_COMMIT = $(shell git rev-parse --verify -q HEAD)

build: ## Build the static release binary
	@cargo build --release --locked -p rkctl
	@ls -l $(RKCTL) | awk '{printf "built %s, %.1f MB\n", $$9, $$5/1e6}'

up: setup build ## Make a lab of three hosts and a cluster on it
	@src/xtask/demo.sh up $(RKCTL) $(LAB)

down: ## Remove the lab; its cached base in /var/cache/rkctl-lab goes with `rkctl lab down --purge`
	@src/xtask/demo.sh down $(RKCTL) $(LAB)

check: ## The fast loop: format, lints, unit tests of what has changed
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@cargo test --workspace --lib --bins --locked --quiet

test: ## Format, lints, unit, integration, end to end in labs of their own (all but e2e-vm, e2e-go, conformance and crash)
	@src/xtask/setup.sh $(PACKAGES) $(PACKAGES_TEST)
	@src/xtask/test.sh

crash: ## Kill the store and cut its disk's power, 500 times each (STORE_SEED=1 begins elsewhere)
	@STORE_ROUNDS=$${STORE_ROUNDS:-500} cargo test --locked -p store --test kill --test power

# SECONDS is looked at only where it was given: shells have a variable of that name.
fuzz: ## Feed the decoders with made-up bytes (FUZZ=cel SECONDS=600 one of them so long; all for a minute each)
	@src/xtask/fuzz.sh "$(or $(FUZZ),all)" "$(if $(filter command line,$(origin SECONDS)),$(SECONDS),60)"

e2e: ## The end-to-end drills alone; DRILLS=services chooses
	@src/xtask/setup.sh $(PACKAGES) $(PACKAGES_TEST)
	@src/xtask/e2e.sh $(DRILLS)

# What the client is built from comes from Debian's newest packages, which change from day to day.
e2e-go: ## The drills with Kubernetes' own Go client, which is fetched (60 MB) and compiled
	@src/xtask/setup.sh $(PACKAGES) $(PACKAGES_TEST)
	@src/xtask/tools.sh go
	@src/xtask/e2e.sh go::

# With the release binary: software that emulates a processor is slow enough.
e2e-vm: setup build ## The drills on a virtual machine (control groups v2, swap), which take some minutes
	@src/xtask/setup.sh $(PACKAGES_VM)
	@RKCTL=$$PWD/$(RKCTL) src/xtask/e2e.sh machine::

# The suite and its images are made the first time, in target/conformance, which takes a quarter of an hour.
conformance: ## Kubernetes' own conformance suite in a lab of its own (FOCUS='\[sig-cli\]' a part of it)
	@src/xtask/setup.sh $(PACKAGES) $(PACKAGES_CONFORMANCE)
	@src/xtask/conformance.sh $(if $(FOCUS),'$(FOCUS)')

# Both packages at once: alone, bench would build the libraries they share again with fewer features.
bench: setup build ## Measure, and print each figure with how it was taken (BENCH="--quick --only up noop")
	@src/xtask/setup.sh $(PACKAGES_BENCH)
	@cargo build --release --locked -p rkctl -p bench
	@PATH=$$PWD/target/tools:$$PATH target/$(TARGET)/release/bench --rkctl $(RKCTL) $(BENCH)

clean: ## Remove what was built
	@cargo clean
