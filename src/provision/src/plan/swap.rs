//! Swap off, now and at boot: memory limits of pods mean nothing where they may swap.

use super::{Draft, View, Wave};

const OFF: &str = "set -eu
swapoff -a
mkdir -p /var/lib/rkctl/original
touch /var/lib/rkctl/original/swap
if [ -e /etc/fstab ]; then
    awk '$1 !~ /^#/ && $3 == \"swap\" {print \"#rkctl# \" $0; next} {print}' /etc/fstab >/etc/fstab.rkctl-new
    cat /etc/fstab.rkctl-new >/etc/fstab
    rm -f /etc/fstab.rkctl-new
fi";

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) {
    let facts = view.facts;
    if facts.swaps.is_empty() && facts.fstab_swaps.is_empty() {
        return;
    }
    let before = match (facts.swaps.is_empty(), facts.fstab_swaps.is_empty()) {
        (false, false) => format!("on: {}; fstab: {}", facts.swaps.join(", "), facts.fstab_swaps.join(", ")),
        (false, true) => format!("on: {}", facts.swaps.join(", ")),
        _ => format!("fstab: {}", facts.fstab_swaps.join(", ")),
    };
    if !view.host.prepare.swap {
        draft.notice(
            format!("swap is {before}"),
            "memory limits of pods do not hold while it is; `prepare.swap: true` lets rkctl switch it off",
        );
        return;
    }
    draft
        .step(Wave::Host, "swap", "switch swap off", "memory limits of pods mean nothing where they may swap")
        .change(before, "off, now and at boot")
        .script(OFF, vec![]);
}
