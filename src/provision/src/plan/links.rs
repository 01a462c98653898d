//! The host's own network manager must leave the links of pods alone: one that takes every link gives them addresses
//! of the host and takes them off the bridge.

use tera::Context;

use super::files::{self, Wanted};
use super::{Draft, View, Wave};
use crate::error::Error;

/// A network manager: its unit, the template, where it goes, and how it is made known.
const MANAGERS: [(&str, &str, &str, &str); 2] = [
    (
        "systemd-networkd",
        "networkd.network",
        "/etc/systemd/network/05-rkctl.network",
        "networkctl reload 2>/dev/null || systemctl restart systemd-networkd",
    ),
    (
        "NetworkManager",
        "networkmanager.conf",
        "/etc/NetworkManager/conf.d/90-rkctl.conf",
        "systemctl reload NetworkManager",
    ),
];

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    for (unit, template, path, reload) in MANAGERS {
        if !view.facts.unit(unit).is_active() {
            continue;
        }
        let wanted = Wanted {
            id: "links",
            wave: Wave::Host,
            path,
            mode: 0o644,
            content: view.templates.render(template, &Context::new())?,
            purpose: "the host's network manager leaves the links of pods alone",
            then: Some(reload),
        };
        files::plan(view, draft, wanted);
    }
    Ok(())
}
