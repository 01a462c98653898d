//! Scaling in the middle of a roll-out: each ReplicaSet gets its share, the largest what rounding leaves.

use super::model::{self, Goal, MAX, Member};

/// The new sizes of `active` (all that have pods), in their order. `existing` is the deployment's `status.replicas`.
pub fn shares(active: &[Member], goal: Goal, existing: i32) -> Vec<i32> {
    let total = model::sum(active.iter().map(|member| member.replicas));
    let allowed = if goal.replicas > 0 { goal.most() } else { 0 };
    let to_add = allowed - total;
    let mut order: Vec<usize> = (0..active.len()).collect();
    // Largest first; of equals the younger when growing, the older when shrinking.
    order.sort_by(|a, b| {
        let (a, b) = (&active[*a], &active[*b]);
        let age = if to_add > 0 { b.age_key().cmp(&a.age_key()) } else { a.age_key().cmp(&b.age_key()) };
        b.replicas.cmp(&a.replicas).then(age)
    });
    let mut sizes: Vec<i32> = active.iter().map(|member| member.replicas).collect();
    let mut added = 0;
    for index in &order {
        if to_add != 0 {
            let share = share(&active[*index], goal, existing, to_add, added);
            sizes[*index] = sizes[*index].saturating_add(share);
            added = added.saturating_add(share);
        }
    }
    if let Some(largest) = order.first() {
        sizes[*largest] = sizes[*largest].saturating_add(to_add.saturating_sub(added)).max(0);
    }
    sizes
}

fn share(member: &Member, goal: Goal, existing: i32, to_add: i32, added: i32) -> i32 {
    if member.replicas == 0 || to_add == added {
        return 0;
    }
    let fraction = fraction(member, goal, existing);
    let left = to_add.saturating_sub(added);
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}

/// By how much the set would change if it grew as the deployment does.
fn fraction(member: &Member, goal: Goal, existing: i32) -> i32 {
    if goal.replicas == 0 {
        return -member.replicas;
    }
    let before = member.annotated(MAX).filter(|max| *max > 0).unwrap_or(existing);
    if before == 0 {
        return 0;
    }
    let size = f64::from(member.replicas) * f64::from(goal.most()) / f64::from(before);
    (size.round() as i32).saturating_sub(member.replicas)
}
