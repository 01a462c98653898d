//! Service.

mod columns;

pub(in crate::kinds) use columns::load_balancer;

use super::simple::Simple;

/// The behaviour of Services.
pub static SERVICE: Simple = Simple {
    columns: columns::COLUMNS,
    cells: columns::cells,
    fields: &["spec.clusterIP", "spec.type"],
    ..Simple::PLAIN
};
