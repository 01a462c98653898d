//! Schedules of CronJobs and their times, and the indexes of Jobs: the next time is the first after the last, what the
//! API takes for a schedule is one, and a set of indexes is written as it was read.
#![no_main]

use controllers::cronjob::schedule::Schedule;
use controllers::job::indexes::Indexes;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fn is_taken(schedule: &str) -> bool {
    let resource = api::registry().get("batch", "v1", "cronjobs").expect("CronJobs");
    let template = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x", "namespace": "n"},
        "spec": {"schedule": schedule, "jobTemplate": template}});
    let Some(cron) = fuzz::complete(resource, cron) else { return false };
    !api::metadata::validate_create(resource, &cron).iter().any(|error| error.to_string().contains("spec.schedule"))
}

fuzz_target!(|data: &[u8]| {
    let Some([text, zone, from, now]) = fuzz::parts::<4>(data) else { return };
    let zone = Some(zone).filter(|zone| !zone.is_empty());
    let (from, now) = (from.parse::<i64>().unwrap_or(0), now.parse::<i64>().unwrap_or(1_800_000_000));
    let (Ok(from), Ok(now)) = (Timestamp::from_second(from), Timestamp::from_second(now)) else { return };
    let read = Schedule::read(text, zone);
    if zone.is_none() && read.is_none() {
        assert!(!is_taken(text), "{text:?} is taken and means nothing");
    }
    if let Some(schedule) = read {
        let next = schedule.next(from);
        assert!(next.is_none_or(|next| next > from));
        if let Some(last) = schedule.last(from, now) {
            assert!(last > from && last <= now, "{text:?}: {last} is not between {from} and {now}");
            assert!(next.is_some_and(|next| next <= last));
            assert!(schedule.next(last).is_none_or(|next| next > now), "{text:?}: {last} is not the last before {now}");
            let following = schedule.following(last, now);
            assert!(following.is_none_or(|following| following > last));
        } else {
            assert!(next.is_none_or(|next| next > now), "{text:?} from {from} to {now}");
        }
    }
    let completions = i32::try_from(now.as_second()).unwrap_or(i32::MAX);
    let indexes = Indexes::parse(text, completions);
    let again = Indexes::parse(&indexes.to_string(), completions);
    assert_eq!(again, indexes);
    assert_eq!(indexes.common(&again), indexes.len());
    assert!(indexes.len() <= completions.max(0));
});
