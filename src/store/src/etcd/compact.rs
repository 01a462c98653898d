//! Compaction: etcd keeps every revision until it is told not to. Several servers agree by a key, as Kubernetes' own
//! API servers do, so that one of them does it each time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::Status;

use super::Shared;
use super::wire::{Compare, PutRequest, RangeRequest, Request, Response, TARGET_VERSION, Target, TxnRequest};

/// Kubernetes' name for it; none of the store's keys, since those begin with a slash.
const KEY: &[u8] = b"compact_rev_key";

/// Compacts what is older than `every`, as often, for ever.
pub(super) async fn run(shared: Arc<Shared>, every: Duration) {
    let (mut version, mut revision) = (0, 0);
    loop {
        tokio::time::sleep(every).await;
        match round(&shared, version, revision).await {
            Ok(next) => (version, revision) = next,
            Err(status) => tracing::warn!(code = ?status.code(), "compacting etcd: {}", status.message()),
        }
    }
}

/// One round: where nobody else has been here since, compacts up to `revision` and answers the version of the key and
/// the revision for the next round.
async fn round(shared: &Shared, version: i64, revision: i64) -> Result<(i64, i64), Status> {
    let key = Bytes::from_static(KEY);
    let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
    let now = i64::try_from(shared.memory.revision()).unwrap_or(i64::MAX);
    let put = PutRequest { key: key.clone(), value: now.to_string().into(), ..PutRequest::default() };
    let answer = shared.connection.txn(TxnRequest {
        compare: vec![Compare { result: 0, target: TARGET_VERSION, key, with: Some(Target::Version(version)) }],
        success: vec![Request::Put(put).into()],
        failure: vec![Request::Range(read).into()],
    });
    let answer = answer.await?;
    if answer.succeeded {
        if revision > 0 {
            shared.connection.compact(revision).await?;
            tracing::debug!(revision, "etcd is compacted");
        }
        return Ok((version + 1, now));
    }
    // Another server did: what it has noted is compacted the next time by whoever is first.
    let kv = answer.responses.into_iter().find_map(|response| match response.response {
        Some(Response::Range(range)) => range.kvs.into_iter().next(),
        _ => None,
    });
    let noted = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    Ok(kv.map_or((0, revision), |kv| (kv.version, noted(&kv.value).unwrap_or(revision))))
}
