//! Pod disruption budgets as preemption sees them: how many pods that each is about may still leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{Selector, SelectorExt};

use crate::pod::PodInfo;

/// A budget.
#[derive(Debug, Clone)]
pub struct Budget {
    namespace: String,
    /// `None` where it is malformed, or about no pod.
    selector: Option<Selector>,
    /// Pods that may leave now.
    allowed: i32,
    /// Pods (names) whose leaving the budget has allowed, and which it counts no more.
    leaving: BTreeSet<String>,
}

impl Budget {
    /// Reads one.
    pub fn new(budget: &PodDisruptionBudget) -> Self {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
        let status = budget.status.as_ref();
        let leaving = status.and_then(|status| status.disrupted_pods.as_ref());
        Self {
            namespace: budget.metadata.namespace.clone().unwrap_or_default(),
            // As in Kubernetes one that selects everything does not stand in the way of a preemption.
            selector: selector.and_then(|one| Selector::try_from(one).ok()).filter(|one| !one.selects_all()),
            allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0),
            leaving: leaving.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        }
    }

    fn covers(&self, pod: &PodInfo) -> bool {
        self.namespace == pod.namespace
            && !self.leaving.contains(&pod.name)
            && self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
    }
}

/// Parts pods, in their order, into those whose leaving with the ones before them would break a budget, and the rest.
pub fn part<'a>(
    pods: Vec<Arc<PodInfo>>,
    budgets: impl Iterator<Item = &'a Budget>,
) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let mut left: Vec<(&Budget, i32)> = budgets.map(|budget| (budget, budget.allowed)).collect();
    pods.into_iter().partition(|pod| {
        let mut breaks = false;
        for (_, allowed) in left.iter_mut().filter(|(budget, _)| budget.covers(pod)) {
            *allowed = allowed.saturating_sub(1);
            breaks |= *allowed < 0;
        }
        breaks
    })
}
