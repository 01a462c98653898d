//! What the expressions of one object may take together once they are compiled: thousands of rules that are small one
//! by one keep gigabytes otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Nodes of all expressions with their macros expanded: a few hundred bytes each. The text of the largest object that
/// is stored has about as many.
const NODES_MAX: usize = 500_000;
/// What the patterns of all expressions take, which are compiled too.
const PATTERN_BYTES_MAX: usize = 32 << 20;

/// A budget that all expressions are compiled on whose [`crate::Env`] has it; clones are the same budget.
#[derive(Debug, Clone)]
pub struct Allowance(Arc<Left>);

#[derive(Debug)]
struct Left {
    nodes: AtomicUsize,
    pattern_bytes: AtomicUsize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(Left { nodes: NODES_MAX.into(), pattern_bytes: PATTERN_BYTES_MAX.into() }))
    }
}

impl Allowance {
    /// Takes nodes; the error is why there are not so many.
    pub(crate) fn take_nodes(&self, count: usize) -> Result<(), String> {
        take(&self.0.nodes, count)
            .ok_or_else(|| format!("expressions too large: together they have more than {NODES_MAX} nodes"))
    }

    /// Takes memory for a pattern; the error is why there is not so much.
    pub(crate) fn take_pattern(&self, bytes: usize) -> Result<(), String> {
        take(&self.0.pattern_bytes, bytes)
            .ok_or_else(|| format!("patterns too large: together they take more than {PATTERN_BYTES_MAX} bytes"))
    }
}

/// What does not fit any more ends the budget: whatever comes after it would be there in part.
fn take(left: &AtomicUsize, count: usize) -> Option<()> {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
        0 => None,
        left => Some(left.saturating_sub(count)),
    });
    taken.ok().filter(|before| *before > count).map(drop)
}
