# Packages of a suite of Debian that this machine does not run, unpacked and not installed: the machine's own apt
# configuration and lists stay as they are. Sourced by tools.sh and go.sh.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
work=
trap '[[ -z $work ]] || rm -rf "$work"' EXIT

# The mirror that this machine uses for Debian's own packages.
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk '$3 == "main" && $2 ~ /^(bookworm|trixie|forky|sid|stable|oldstable|testing|unstable)$/ {print $1; exit}'
}

# suite NAME: reads what the suite has, into a folder `work` of its own; `options` lead apt-get and apt-cache there.
suite() {
    local name=$1 site
    site=$(mirror)
    [[ -n $site ]] || { echo "tools: no source of Debian's packages in apt's configuration" >&2; exit 1; }
    [[ -r $keyring ]] || { echo "tools: $keyring is missing: apt-get install debian-archive-keyring" >&2; exit 1; }
    work=$(mktemp -d)
    mkdir -p "$work"/{state,lists/partial,cache/archives/partial,unpacked}
    : >"$work/status"
    echo "deb [signed-by=$keyring] $site $name main" >"$work/sources.list"
    options=(
        -qq
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=-
        -o Dir::State="$work/state" -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status"
        -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=3
    )
    apt-get "${options[@]}" update
}

# unpack PACKAGE...: into $work/unpacked.
unpack() {
    (cd "$work" && apt-get "${options[@]}" download "$@") || return
    local package
    for package in "$work"/*.deb; do
        dpkg-deb -x "$package" "$work/unpacked" || return
    done
}

# Ends what `suite` began.
done_with_suite() {
    rm -rf "$work"
    work=
}
