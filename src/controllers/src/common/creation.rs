//! Creating the pods of an owner in batches that double, so that a request that is refused is not made five hundred
//! times.

use client::events::Recorder;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};

use super::error::{Error, cause, doing};
use super::expectations::Expectations;
use super::key::Key;
use super::namespaces;

/// Whose pods are created, and who is told.
pub struct Creation<'a, K> {
    pub api: &'a Api<Pod>,
    pub owner: &'a K,
    pub key: &'a Key,
    pub recorder: &'a Recorder,
    /// Told of what does not come after all.
    pub expectations: &'a Expectations,
}

impl<K: Resource<DynamicType = ()>> Creation<'_, K> {
    /// Creates a pod of each in `all`, all of which are expected.
    ///
    /// # Errors
    /// The last refusal of the first batch with one; none where the namespace goes away.
    pub async fn run<T>(&self, all: &[T], make: impl Fn(&T) -> Pod) -> Result<(), Error> {
        let params = PostParams::default();
        let (mut left, mut batch) = (all, 1);
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            let made: Vec<Pod> = now.iter().map(&make).collect();
            let mut refused = None;
            for result in join_all(made.iter().map(|pod| self.api.create(&params, pod))).await {
                match result {
                    Ok(pod) => {
                        let message = format!("Created pod: {}", pod.name_any());
                        self.recorder.normal(self.owner, "SuccessfulCreate", &message);
                    }
                    Err(error) => {
                        self.expectations.created(self.key);
                        refused = Some(error);
                    }
                }
            }
            if let Some(error) = refused {
                self.expectations.creations_less(self.key, later.len());
                if namespaces::goes_away(&error) {
                    return Ok(());
                }
                let error = doing(format!("create a pod of {} {}", K::kind(&()), self.key))(error);
                self.recorder.warning(self.owner, "FailedCreate", &format!("Error creating: {}", cause(&error)));
                return Err(error);
            }
            left = later;
            batch *= 2;
        }
        Ok(())
    }
}
