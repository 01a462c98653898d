//! The host's name, and /etc/hosts.

use super::{Draft, View, Wave};

const SET_NAME: &str = "set -eu
mkdir -p /var/lib/rkctl/original
[ -e /var/lib/rkctl/original/hostname ] || cat /proc/sys/kernel/hostname >/var/lib/rkctl/original/hostname
printf '%s\\n' \"$1\" >/etc/hostname
hostnamectl set-hostname \"$1\" 2>/dev/null || hostname \"$1\"";

/// Puts standard input in the place of our block. Written into the file itself, which may be a mount.
const SET_HOSTS: &str = "set -eu
new=$(mktemp)
trap 'rm -f \"$new\"' EXIT
[ -e /etc/hosts ] && sed '/^# BEGIN rkctl$/,/^# END rkctl$/d' /etc/hosts >\"$new\"
cat >>\"$new\"
cat \"$new\" >/etc/hosts";

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) {
    hostname(view, draft);
    hosts(view, draft);
}

fn hostname(view: &View<'_>, draft: &mut Draft<'_>) {
    let wanted = &view.host.name;
    let facts = view.facts;
    if facts.hostname == *wanted && facts.hostname_file == *wanted {
        return;
    }
    // A full name whose first label is the node's name is a matter of taste.
    let same =
        |found: &str| found == wanted || found.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('.'));
    if same(&facts.hostname) && same(&facts.hostname_file) {
        return;
    }
    if !view.host.prepare.hostname {
        let found = if same(&facts.hostname) { &facts.hostname_file } else { &facts.hostname };
        draft.notice(
            format!("the host's name is {found}, not {wanted}"),
            "logs name the host otherwise than the node; `prepare.hostname: true` lets rkctl set it",
        );
        return;
    }
    draft
        .step(Wave::Host, "hostname", "set the host's name", "logs and users know the node by its name")
        .change(facts.hostname.clone(), wanted.clone())
        .script(SET_NAME, vec![wanted.clone()]);
}

/// The host itself and the control plane: adding a worker must not change every other host.
fn hosts(view: &View<'_>, draft: &mut Draft<'_>) {
    let listed = view.cluster.present().filter(|host| host.name == view.host.name || host.role.is_control_plane());
    let entries = listed.filter_map(|host| Some(format!("{} {}", view.peers.addresses.get(&host.name)?, host.name)));
    let mut block = vec!["# BEGIN rkctl".to_owned()];
    block.extend(entries);
    block.push("# END rkctl".to_owned());
    if view.facts.hosts_block == block {
        return;
    }
    let inside =
        |lines: &[String]| lines.iter().filter(|line| !line.starts_with('#')).cloned().collect::<Vec<_>>().join(", ");
    if !view.host.prepare.hosts {
        draft.notice(
            format!("/etc/hosts does not have {}", inside(&block)),
            "see that the host finds these names otherwise; `prepare.hosts: true` lets rkctl write them",
        );
        return;
    }
    let before = if view.facts.hosts_block.is_empty() { "missing".to_owned() } else { inside(&view.facts.hosts_block) };
    draft
        .step(Wave::Host, "hosts-file", "write /etc/hosts", "the host finds itself and the control plane without DNS")
        .change(before, inside(&block))
        .by(super::Action::Run {
            script: SET_HOSTS,
            args: vec![],
            input: block.join("\n") + "\n",
            timeout: super::SCRIPT_TIMEOUT,
        });
}
