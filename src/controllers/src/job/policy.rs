//! What a job says of its pods' ends: `podFailurePolicy` and `successPolicy`.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, SuccessPolicy};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::indexes::Indexes;

/// What becomes of a failed pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It counts.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed.
    FailIndex,
    /// The job has failed, for this reason.
    FailJob(String),
}

/// The first rule that holds of a failed pod; without one it counts.
pub fn action(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Action {
    for (at, rule) in policy.iter().flat_map(|policy| policy.rules.iter().enumerate()) {
        let of_codes = rule.on_exit_codes.as_ref().and_then(|codes| matching_container(codes, pod));
        let place = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        let why = if let Some((name, code)) = of_codes {
            format!(
                "Container {name} for pod {place} failed with exit code {code} matching {} rule at index {at}",
                rule.action
            )
        } else if let Some(type_) = matching_condition(rule.on_pod_conditions.as_deref(), pod) {
            format!("Pod {place} has condition {type_} matching {} rule at index {at}", rule.action)
        } else {
            continue;
        };
        return match rule.action.as_str() {
            "Ignore" => Action::Ignore,
            "FailIndex" => Action::FailIndex,
            "FailJob" => Action::FailJob(why),
            _ => Action::Count,
        };
    }
    Action::Count
}

fn matching_container(codes: &PodFailurePolicyOnExitCodesRequirement, pod: &Pod) -> Option<(String, i32)> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let exit_code = |container: &ContainerStatus| Some(container.state.as_ref()?.terminated.as_ref()?.exit_code);
    all.filter(|container| codes.container_name.as_ref().is_none_or(|name| *name == container.name))
        .filter_map(|container| Some((container.name.clone(), exit_code(container)?)))
        .find(|(_, code)| *code != 0 && codes.values.contains(code) == (codes.operator == "In"))
}

fn matching_condition(
    patterns: Option<&[k8s_openapi::api::batch::v1::PodFailurePolicyOnPodConditionsPattern]>,
    pod: &Pod,
) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let holds = |type_: &str, status: &str| conditions.iter().any(|one| one.type_ == type_ && one.status == status);
    let found = patterns?.iter().find(|pattern| {
        let status = Some(pattern.status.clone()).and_then(Into::<Option<String>>::into);
        holds(&pattern.type_, status.as_deref().filter(|status| !status.is_empty()).unwrap_or("True"))
    })?;
    Some(found.type_.clone())
}

/// The number of the first rule by which the indexes that have succeeded are enough.
pub fn enough(policy: Option<&SuccessPolicy>, succeeded: &Indexes, completions: i32) -> Option<usize> {
    policy?.rules.iter().position(|rule| {
        let among = rule.succeeded_indexes.as_ref().map(|text| Indexes::parse(text, completions));
        let met = match &among {
            Some(among) => among.common(succeeded),
            None => succeeded.len(),
        };
        let wanted = match (rule.succeeded_count, &among) {
            (Some(count), _) => count,
            (None, Some(among)) => among.len(),
            (None, None) => return false,
        };
        met >= wanted
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(code: i32) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "status": {"phase": "Failed",
            "conditions": [{"type": "DisruptionTarget", "status": "True"}],
            "containerStatuses": [{"name": "c", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
                "state": {"terminated": {"exitCode": code}}}]}}))
        .unwrap()
    }

    fn policy(rules: Value) -> PodFailurePolicy {
        serde_json::from_value(json!({"rules": rules})).unwrap()
    }

    #[test]
    fn the_first_rule_that_holds_decides() {
        let codes = |action: &str, operator: &str, values: &[i32]| json!({"action": action, "onExitCodes": {"operator": operator, "values": values}});
        let of_node = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
        let failed = "Container c for pod n/p failed with exit code 42 matching FailJob rule at index 0";
        for (rules, code, expected) in [
            (json!([]), 1, Action::Count),
            (json!([codes("FailJob", "In", &[42])]), 42, Action::FailJob(failed.into())),
            (json!([codes("FailJob", "In", &[42])]), 1, Action::Count),
            (json!([codes("FailJob", "In", &[42]), of_node]), 1, Action::Ignore),
            (json!([codes("FailIndex", "NotIn", &[42]), of_node]), 1, Action::FailIndex),
            (json!([codes("FailIndex", "NotIn", &[42]), of_node]), 0, Action::Ignore),
        ] {
            assert_eq!(action(Some(&policy(rules.clone())), &pod(code)), expected, "{rules} {code}");
        }
    }

    #[test]
    fn a_success_policy_asks_for_indexes_or_for_a_number() {
        let enough = |rules: Value, succeeded: &str| {
            let policy: SuccessPolicy = serde_json::from_value(json!({"rules": rules})).unwrap();
            super::enough(Some(&policy), &Indexes::parse(succeeded, 10), 10)
        };
        assert_eq!(enough(json!([{"succeededIndexes": "0,2"}]), "0-2"), Some(0));
        assert_eq!(enough(json!([{"succeededIndexes": "0,2"}]), "0,1"), None);
        assert_eq!(enough(json!([{"succeededIndexes": "0-4", "succeededCount": 2}]), "3,4,9"), Some(0));
        assert_eq!(enough(json!([{"succeededIndexes": "0"}, {"succeededCount": 2}]), "5,6"), Some(1));
        assert_eq!(super::enough(None, &Indexes::default(), 1), None);
    }
}
