//! NetworkPolicy.

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, name, name_column, selector, text};

/// The behaviour of NetworkPolicies.
pub static NETWORK_POLICY: Simple = Simple {
    columns: &[name_column(), text("Pod-Selector", "The pods it applies to."), age_column()],
    cells: |object, now| vec![name(object), selector(read::at(object, "spec.podSelector")).into(), age(object, now)],
    has_generation: true,
    ..Simple::PLAIN
};
