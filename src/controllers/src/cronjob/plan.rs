//! What is to be done for a CronJob, of its schedule and the jobs that it has made. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;

use super::schedule::Schedule;
use crate::common::owners::controller_reference;
use crate::job::is_finished;

/// When the job was due, by the schedule.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Finished jobs that are kept where the CronJob does not say.
const SUCCEEDED_KEPT: i32 = 3;
const FAILED_KEPT: i32 = 1;
/// Jobs are made a little after their minute begins, so that no clock is before it.
const AFTER_DUE: SignedDuration = SignedDuration::from_millis(100);

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// As it is without the new job.
    pub status: CronJobStatus,
    /// Jobs that make way for the new one, and finished ones beyond those that are kept.
    pub delete: Vec<Arc<Job>>,
    /// The job that is due, and since when.
    pub create: Option<(Box<Job>, Timestamp)>,
    pub again_at: Option<Timestamp>,
    /// Warnings for whoever looks, by reason.
    pub told: Vec<(&'static str, String)>,
}

/// Decides.
pub fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let spec = &cron.spec;
    let running: Vec<Arc<Job>> = jobs.iter().filter(|job| !has_finished(job)).cloned().collect();
    let old = cron.status.clone().unwrap_or_default();
    let completed = jobs.iter().filter_map(|job| job.status.as_ref()?.completion_time.clone());
    let successes = completed.chain(old.last_successful_time).map(|time| time.0);
    let mut plan = Plan {
        status: CronJobStatus {
            active: Some(running.iter().map(|job| reference(job)).collect()),
            last_schedule_time: old.last_schedule_time,
            last_successful_time: successes.max().map(Time),
        },
        delete: surplus(spec, jobs),
        ..Plan::default()
    };
    if cron.metadata.deletion_timestamp.is_some() || spec.suspend == Some(true) {
        return plan;
    }
    let Some(schedule) = Schedule::read(&spec.schedule, spec.time_zone.as_deref()) else {
        let zone = spec.time_zone.as_deref().unwrap_or("UTC");
        plan.told
            .push(("UnparseableSchedule", format!("unparseable schedule: {:?} in time zone {zone}", spec.schedule)));
        return plan;
    };
    let last = plan.status.last_schedule_time.as_ref().map(|time| time.0);
    let made = cron.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let from = last.unwrap_or(made);
    let due = schedule.last(from, now);
    let next = schedule.following(due.unwrap_or(from), now);
    plan.again_at = next.and_then(|next| next.checked_add(AFTER_DUE).ok());
    let late = |due: &Timestamp| {
        let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        deadline.and_then(|deadline| now.checked_sub(deadline).ok()).is_some_and(|earliest| *due <= earliest)
    };
    if let Some(due) = due.filter(|due| !late(due)) {
        start(cron, spec, jobs, &running, due, &mut plan);
    }
    plan
}

fn start(cron: &CronJob, spec: &CronJobSpec, jobs: &[Arc<Job>], running: &[Arc<Job>], due: Timestamp, plan: &mut Plan) {
    let job = job(cron, spec, due);
    if jobs.iter().any(|known| known.name_any() == job.name_any()) {
        // Made before, and not yet told.
        plan.status.last_schedule_time = Some(Time(due));
        return;
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !running.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.told.push(("JobAlreadyActive", message.to_string()));
            return;
        }
        Some("Replace") => {
            let leaving = |job: &&Arc<Job>| job.metadata.deletion_timestamp.is_none();
            plan.delete.extend(running.iter().filter(leaving).cloned());
            plan.status.active = None;
        }
        _ => {}
    }
    plan.create = Some((Box::new(job), due));
}

fn has_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(is_finished)
}

/// How the status names a job.
pub fn reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".to_string()),
        kind: Some("Job".to_string()),
        namespace: job.namespace(),
        name: Some(job.name_any()),
        uid: job.uid(),
        resource_version: job.resource_version(),
        field_path: None,
    }
}

/// Finished jobs beyond those that are kept, the oldest first.
fn surplus(spec: &CronJobSpec, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let kept = |limit: Option<i32>, default: i32| usize::try_from(limit.unwrap_or(default)).unwrap_or(0);
    let complete = |job: &Job| {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Complete" && condition.status == "True")
    };
    let finished = jobs.iter().filter(|job| has_finished(job) && job.metadata.deletion_timestamp.is_none()).cloned();
    let (mut succeeded, mut failed): (Vec<_>, Vec<_>) = finished.partition(|job| complete(job));
    let mut all = Vec::new();
    for (list, kept) in [
        (&mut succeeded, kept(spec.successful_jobs_history_limit, SUCCEEDED_KEPT)),
        (&mut failed, kept(spec.failed_jobs_history_limit, FAILED_KEPT)),
    ] {
        let begun = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        list.sort_by_key(|job| (begun(job), job.name_any()));
        all.extend(list.iter().take(list.len().saturating_sub(kept)).cloned());
    }
    all
}

/// The job that is due at a time; its name follows from both, so that it is made once.
fn job(cron: &CronJob, spec: &CronJobSpec, due: Timestamp) -> Job {
    let template = spec.job_template.metadata.clone().unwrap_or_default();
    let zone = spec.time_zone.as_deref().and_then(|name| jiff::tz::TimeZone::get(name).ok());
    let shown = match zone {
        Some(zone) => due.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        None => machinery::meta::format_time(due),
    };
    let mut annotations = template.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_AT.to_string(), shown);
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", cron.name_any(), due.as_second() / 60)),
            namespace: cron.namespace(),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:20Z".parse().unwrap()
    }

    fn cron(more: Value, last: Option<&str>) -> CronJob {
        let mut spec = json!({"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow",
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "n", "uid": "u",
            "creationTimestamp": "2026-01-01T11:01:00Z"}, "spec": spec, "status": {"lastScheduleTime": last}}))
        .unwrap()
    }

    fn job(name: &str, condition: Option<&str>, started: &str) -> Arc<Job> {
        let conditions: Vec<_> = condition.map(|type_| json!({"type": type_, "status": "True"})).into_iter().collect();
        let done = condition.filter(|type_| *type_ == "Complete").map(|_| "2026-01-01T11:58:00Z");
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n", "uid": name},
                "status": {"conditions": conditions, "startTime": started, "completionTime": done}}))
            .unwrap(),
        )
    }

    fn names(jobs: &[Arc<Job>]) -> Vec<String> {
        jobs.iter().map(|job| job.name_any()).collect()
    }

    #[test]
    fn a_job_is_made_when_one_is_due_and_not_twice() {
        let due: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for (spec, last, made) in [
            (json!({}), None, true),
            (json!({}), Some("2026-01-01T11:55:00Z"), true),
            (json!({}), Some("2026-01-01T12:00:00Z"), false),
            (json!({"suspend": true}), None, false),
            (json!({"startingDeadlineSeconds": 10}), None, false),
            (json!({"startingDeadlineSeconds": 30}), None, true),
            (json!({"schedule": "0 13 * * *"}), None, false),
            (json!({"schedule": "0 13 * * *", "timeZone": "Europe/Berlin"}), None, true),
        ] {
            let planned = plan(&cron(spec.clone(), last), &[], now());
            let at = planned.create.as_ref().map(|(_, at)| *at);
            assert_eq!(at, made.then_some(due), "{spec} {last:?}");
        }
        let planned = plan(&cron(json!({}), None), &[], now());
        let (made, _) = planned.create.unwrap();
        assert_eq!(made.name_any(), format!("c-{}", due.as_second() / 60));
        assert_eq!(made.annotations()[SCHEDULED_AT], "2026-01-01T12:00:00Z");
        assert_eq!(planned.again_at, Some("2026-01-01T12:05:00.1Z".parse().unwrap()));
        let known = plan(&cron(json!({}), None), &[job(&made.name_any(), None, "2026-01-01T12:00:01Z")], now());
        assert!(known.create.is_none());
        assert_eq!(known.status.last_schedule_time, Some(Time(due)), "what was made is told");
    }

    #[test]
    fn times_of_every_so_often_stay_where_they_began() {
        for (more, again, due) in [
            (json!({}), "2026-01-01T12:01:00.1Z", Some("2026-01-01T11:59:30Z")),
            (json!({"startingDeadlineSeconds": 60}), "2026-01-01T12:01:00.1Z", Some("2026-01-01T11:59:30Z")),
            (json!({"startingDeadlineSeconds": 20}), "2026-01-01T12:01:00.1Z", None),
        ] {
            let mut spec = json!({"schedule": "@every 90s"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let planned = plan(&cron(spec, Some("2026-01-01T11:58:00Z")), &[], now());
            assert_eq!(planned.again_at, Some(again.parse().unwrap()), "{more}");
            assert_eq!(planned.create.map(|(_, at)| at), due.map(|due| due.parse().unwrap()), "{more}");
        }
    }

    #[test]
    fn what_runs_forbids_the_next_or_makes_way_for_it() {
        let running = [job("old", None, "2026-01-01T11:55:00Z")];
        for (policy, made, deleted, told) in
            [("Allow", true, vec![], 0), ("Forbid", false, vec![], 1), ("Replace", true, vec!["old".to_string()], 0)]
        {
            let planned = plan(&cron(json!({"concurrencyPolicy": policy}), None), &running, now());
            assert_eq!((planned.create.is_some(), names(&planned.delete), planned.told.len()), (made, deleted, told));
        }
    }

    #[test]
    fn as_many_finished_jobs_are_kept_as_are_wanted() {
        let at = |minute: u8| format!("2026-01-01T11:{minute:02}:00Z");
        let mut jobs: Vec<_> = (0..5).map(|number| job(&format!("s{number}"), Some("Complete"), &at(number))).collect();
        jobs.extend((0..3).map(|number| job(&format!("f{number}"), Some("Failed"), &at(number))));
        jobs.push(job("running", None, &at(9)));
        let planned = plan(&cron(json!({}), Some("2026-01-01T12:00:00Z")), &jobs, now());
        assert_eq!(names(&planned.delete), ["s0", "s1", "f0", "f1"]);
        assert_eq!(planned.status.active.unwrap().len(), 1);
        assert_eq!(planned.status.last_successful_time.unwrap().0, "2026-01-01T11:58:00Z".parse().unwrap());
        let none = json!({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0});
        assert_eq!(plan(&cron(none, Some("2026-01-01T12:00:00Z")), &jobs, now()).delete.len(), 8);
    }
}
