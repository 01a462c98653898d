//! The container runtime and the programs pods' networks need: installed, configured, running.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tera::Context;

use super::{Action, Draft, View, Wave, files};
use crate::error::Error;
use crate::observe::Found;

const CONFIG: &str = "/etc/containerd/config.toml";
/// Downloads from a distribution's mirror may be slow.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// `$1` is the package manager, the rest are packages. What was not there before is put down for `rkctl reset`: the
/// packages that are asked for at once, those that came with them afterwards, whatever comes of it.
const INSTALL: &str = concat!(
    "set -eu
manager=$1
shift
",
    include_str!("../packages.sh"),
    include_str!("runtime/remember.sh"),
    include_str!("runtime/install.sh")
);

/// Keeps what was there before the first time, and puts standard input in its place in one step.
const CONFIGURE: &str = concat!(
    "set -eu
mkdir -p /etc/containerd /var/lib/rkctl/original /opt/cni/bin /etc/cni/net.d
if [ -e \"$1\" ] && ! grep -q '^# Written by rkctl' \"$1\"; then cp -p \"$1\" /var/lib/rkctl/original/containerd-config.toml; fi
",
    include_str!("runtime/remember.sh"),
    "cat >\"$1.rkctl-new\"
chmod 644 \"$1.rkctl-new\"
mv -f \"$1.rkctl-new\" \"$1\""
);

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    let missing = missing_tools(view);
    let installs = !missing.is_empty();
    if installs && !install(view, draft, &missing) {
        return Ok(());
    }
    if !view.host.prepare.runtime {
        if !view.facts.unit("containerd").is_active() {
            draft.problem("containerd does not run", "start it, or let rkctl do so: `prepare.runtime: true`");
        }
        return Ok(());
    }
    let changed = configure(view, draft)?;
    let unit = view.facts.unit("containerd");
    let reason = if changed {
        Some("its configuration changes".to_owned())
    } else if installs && !unit.is_active() {
        Some("it was just installed".to_owned())
    } else if !unit.is_active() {
        Some(format!("it is {}", if unit.active.is_empty() { "not there" } else { &unit.active }))
    } else if !unit.is_enabled() {
        Some("it does not start at boot".to_owned())
    } else {
        files::changed_since_start(view, "containerd", &[CONFIG])
    };
    if let Some(reason) = reason {
        draft
            .step(Wave::Host, "runtime", "start containerd", reason)
            .change(unit.state(), "active, started at boot")
            .by(Action::Restart { unit: "containerd" });
    }
    Ok(())
}

fn missing_tools(view: &View<'_>) -> Vec<&'static str> {
    ["containerd", "runc", "nft", "conntrack"].into_iter().filter(|tool| !view.facts.tools.contains(*tool)).collect()
}

/// Whether the missing programs will be there.
fn install(view: &View<'_>, draft: &mut Draft<'_>, missing: &[&str]) -> bool {
    let list = missing.join(", ");
    let Some(manager) = &view.facts.package_manager else {
        draft.problem(format!("{list} missing, and no package manager is known here"), format!("install {list}"));
        return false;
    };
    if !view.host.prepare.runtime {
        draft
            .problem(format!("{list} missing"), format!("install {list}, or let rkctl do so: `prepare.runtime: true`"));
        return false;
    }
    let package = |tool: &&str| match (*tool, manager.as_str()) {
        ("nft", _) => "nftables",
        ("conntrack", "dnf" | "yum" | "apk" | "pacman" | "zypper") => "conntrack-tools",
        ("conntrack", _) => "conntrack",
        ("containerd", _) => "containerd",
        _ => "runc",
    };
    let packages: Vec<String> = missing.iter().map(|tool| package(tool).to_owned()).collect();
    let mut args = vec![manager.clone()];
    args.extend(packages.iter().cloned());
    draft
        .step(Wave::Host, "packages", format!("install {}", packages.join(", ")), "pods and services need them")
        .change(format!("missing: {list}"), format!("from the host's packages ({manager})"))
        .by(Action::Run { script: INSTALL, args, input: String::new(), timeout: INSTALL_TIMEOUT });
    true
}

fn configure(view: &View<'_>, draft: &mut Draft<'_>) -> Result<bool, Error> {
    let mut context = Context::new();
    context.insert("pause_image", &format!("rkctl.local/pause:{}", view.release.version));
    context.insert("restrict_oom_score_adj", &!view.facts.may_lower_oom_score());
    context.insert("systemd_cgroup", &(view.facts.systemd && view.facts.cgroup == 2));
    let content = view.templates.render("containerd.toml", &context)?;
    let sha256 = hex::encode(Sha256::digest(&content));
    let before = match view.facts.files.get(CONFIG) {
        Some(Found::File { sha256: found, .. }) if *found == sha256 => return Ok(false),
        Some(Found::File { sha256, .. }) => format!("sha256 {}", &sha256[..sha256.len().min(12)]),
        Some(Found::Link(to)) => format!("a link to {to}"),
        None => "missing".to_owned(),
    };
    draft
        .step(
            Wave::Host,
            "runtime-config",
            format!("write {CONFIG}"),
            "containerd must know the pause image and CNI folders",
        )
        .change(before, format!("sha256 {}", &sha256[..12]))
        .by(Action::Run {
            script: CONFIGURE,
            args: vec![CONFIG.to_owned()],
            input: content,
            timeout: super::SCRIPT_TIMEOUT,
        });
    Ok(true)
}
