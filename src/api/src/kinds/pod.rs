//! Pod.

mod columns;

use jiff::Timestamp;
use serde_json::Value;

use crate::read;
use crate::resource::{Column, Kind};

/// How long a pod may take to end when neither it nor the request says so.
const GRACE_PERIOD_SECONDS: i64 = 30;

/// The behaviour of Pods.
pub struct Pod;

impl Kind for Pod {
    fn columns(&self) -> Vec<Column> {
        columns::columns()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        columns::cells(object, now)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn fields(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn field(&self, object: &Value, path: &str) -> Option<String> {
        match path {
            "spec.hostNetwork" => Some(read::flag(object, path).to_string()),
            "status.podIPs" => Some(read::text(object, "status.podIP").to_string()),
            path => self.fields().contains(&path).then(|| read::shown(object, path)),
        }
    }

    fn default_grace_period_seconds(&self, object: &Value) -> Option<i64> {
        let own = read::at(object, "spec.terminationGracePeriodSeconds").as_i64();
        Some(own.unwrap_or(GRACE_PERIOD_SECONDS))
    }
}
