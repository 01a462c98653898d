//! Kernel modules and settings, now and at boot.

use tera::Context;

use super::files::{self, Wanted};
use super::{Draft, View, Wave};
use crate::error::Error;
use crate::observe::Module;

/// A module and what does not work without it.
const MODULES: &[(&str, &str)] = &[
    ("overlay", "containers have no file systems"),
    ("br_netfilter", "pods do not reach services whose pods are on the same host"),
    ("nf_conntrack", "services do not work"),
    ("nf_tables", "services do not work"),
    ("vxlan", "pods do not reach pods of other hosts"),
];

/// A setting, the value that is wanted, and what does not work without it.
struct Setting {
    key: &'static str,
    value: u64,
    /// From this value on nothing is changed; `None` where it must be exactly that value.
    enough: Option<u64>,
    without: &'static str,
}

const SETTINGS: &[Setting] = &[
    Setting { key: "net.ipv4.ip_forward", value: 1, enough: None, without: "pods reach nothing outside their host" },
    Setting {
        key: "net.bridge.bridge-nf-call-iptables",
        value: 1,
        enough: None,
        without: "pods do not reach services whose pods are on the same host",
    },
    Setting {
        key: "fs.inotify.max_user_instances",
        value: 8192,
        enough: Some(1024),
        without: "hosts with many pods run out of file watches",
    },
    Setting {
        key: "fs.inotify.max_user_watches",
        value: 524_288,
        enough: Some(131_072),
        without: "hosts with many pods run out of file watches",
    },
];

const MODULES_FILE: &str = "/etc/modules-load.d/rkctl.conf";
const SYSCTL_FILE: &str = "/etc/sysctl.d/90-rkctl.conf";

/// What was not loaded before is written down, so that it can go again.
const LOAD: &str = "mkdir -p /var/lib/rkctl/original
for module; do modprobe \"$module\" && echo \"$module\" >>/var/lib/rkctl/original/modules; done";
/// Each setting by itself, so that one the kernel refuses is named and does not keep back the others.
const SET: &str = "status=0
mkdir -p /var/lib/rkctl/original
for setting; do
    kept=/var/lib/rkctl/original/sysctl
    file=/proc/sys/$(echo \"${setting%%=*}\" | tr . /)
    grep -qs \"^${setting%%=*}=\" $kept || echo \"${setting%%=*}=$(cat \"$file\")\" >>$kept
    printf '%s\\n' \"${setting#*=}\" >\"$file\" || { echo \"cannot set ${setting%%=*}\" >&2; status=1; }
done
exit $status";

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    modules(view, draft)?;
    settings(view, draft)
}

fn modules(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    let state = |name: &str| view.facts.modules.get(name).copied().unwrap_or(Module::Missing);
    let loadable: Vec<&str> =
        MODULES.iter().map(|(name, _)| *name).filter(|name| state(name) == Module::Loadable).collect();
    for (name, without) in MODULES.iter().filter(|(name, _)| state(name) == Module::Missing) {
        draft.notice(
            format!("the kernel has no module {name}"),
            format!("without it {without}; install the kernel package that has it"),
        );
    }
    if !view.host.prepare.modules {
        for name in loadable {
            draft.notice(
                format!("the module {name} is not loaded"),
                "load it, now and at boot; `prepare.modules: true` lets rkctl do so",
            );
        }
        return Ok(());
    }
    if !loadable.is_empty() {
        draft
            .step(Wave::Host, "modules", "load kernel modules", "pods and services need them")
            .change(format!("not loaded: {}", loadable.join(", ")), "loaded")
            .script(LOAD, loadable.iter().map(|name| (*name).to_owned()).collect());
    }
    let mut context = Context::new();
    let wanted: Vec<&str> =
        MODULES.iter().map(|(name, _)| *name).filter(|name| state(name) != Module::Missing).collect();
    context.insert("modules", &wanted);
    let content = view.templates.render("modules.conf", &context)?;
    let purpose = "modules at boot";
    files::plan(
        view,
        draft,
        Wanted { id: "modules-file", wave: Wave::Host, path: MODULES_FILE, mode: 0o644, content, purpose, then: None },
    );
    Ok(())
}

#[derive(serde::Serialize)]
struct Line {
    key: &'static str,
    value: u64,
}

fn settings(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    let (mut change, mut before, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for setting in SETTINGS {
        let found = view.facts.sysctls.get(setting.key);
        let value: Option<u64> = found.and_then(|found| found.value.as_ref()?.trim().parse().ok());
        let right = value.is_some_and(|value| match setting.enough {
            Some(enough) => value >= enough,
            None => value == setting.value,
        });
        // A bridge's settings come with the module that this run loads.
        let comes_with_module = setting.key.starts_with("net.bridge.")
            && view.facts.modules.get("br_netfilter") == Some(&Module::Loadable)
            && view.host.prepare.modules;
        let more = value.is_some_and(|value| setting.enough.is_some() && value > setting.value);
        if !more && (value.is_some() || comes_with_module) {
            lines.push(Line { key: setting.key, value: setting.value });
        }
        if right {
            continue;
        }
        let now = value.map_or_else(|| "missing".to_owned(), |value| value.to_string());
        let writable = found.is_some_and(|found| found.writable) || comes_with_module;
        if !writable || !view.host.prepare.sysctl {
            let why =
                if writable { "`prepare.sysctl: true` lets rkctl set it" } else { "this host does not let it be set" };
            draft.notice(
                format!("{} is {now} instead of {}", setting.key, setting.value),
                format!("without it {}; {why}", setting.without),
            );
            continue;
        }
        before.push(format!("{}={now}", setting.key));
        change.push(format!("{}={}", setting.key, setting.value));
    }
    if !view.host.prepare.sysctl {
        return Ok(());
    }
    if !change.is_empty() {
        draft
            .step(Wave::Host, "sysctl", "set kernel parameters", "pods, services and the overlay need them")
            .change(before.join(" "), change.join(" "))
            .script(SET, change);
    }
    let mut context = Context::new();
    context.insert("settings", &lines);
    let content = view.templates.render("sysctl.conf", &context)?;
    let purpose = "kernel parameters at boot";
    files::plan(
        view,
        draft,
        Wanted { id: "sysctl-file", wave: Wave::Host, path: SYSCTL_FILE, mode: 0o644, content, purpose, then: None },
    );
    Ok(())
}
