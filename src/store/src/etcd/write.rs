//! Writes: each is one transaction of etcd that compares and puts or deletes, and is answered when this server's memory
//! shows it.

use std::time::Duration;

use bytes::Bytes;

use super::connection::{failed, is_lease_gone};
use super::wire::{
    self, Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, Request, RequestOp, Response, TARGET_MOD,
    Target, TxnRequest,
};
use super::{Etcd, unsigned};
use crate::{Entry, Error, Lease, Precondition};

/// No revision is this one.
const NEVER: i64 = i64::MAX;

/// What ends a value that is written.
#[derive(Debug, Clone, Copy)]
enum Life {
    /// Nothing but its deletion.
    Stays,
    /// This lease.
    Ends(Lease),
    /// What ends the value that it replaces.
    AsBefore,
}

impl Etcd {
    /// Writes a value. Where its lease is over before it is written, which takes a member that was cut off for long, it
    /// gets another one: nothing has happened.
    pub(super) async fn put_living(
        &self,
        key: &str,
        value: Bytes,
        precondition: Precondition,
        ttl: Option<Duration>,
    ) -> Result<Entry, Error> {
        let Some(ttl) = ttl else { return self.put_once(key, value, precondition, Life::Stays).await };
        let lease = self.leases.share(&self.shared.connection, ttl).await?;
        match self.put_once(key, value.clone(), precondition, Life::Ends(lease)).await {
            Err(error) if is_lease_gone(&error) => {
                self.leases.forget(lease).await;
                let lease = self.leases.share(&self.shared.connection, ttl).await?;
                self.put_once(key, value, precondition, Life::Ends(lease)).await
            }
            done => done,
        }
    }

    /// Writes a value that lives as long as the one that it replaces.
    pub(super) async fn put_anew(&self, key: &str, value: Bytes, revision: u64) -> Result<Entry, Error> {
        self.put_once(key, value, Precondition::Revision(revision), Life::AsBefore).await
    }

    async fn put_once(&self, key: &str, value: Bytes, precondition: Precondition, life: Life) -> Result<Entry, Error> {
        let kept = self.shared.encryption.seal(key, &value);
        let kept = kept.map_err(|error| Error::Backend { doing: "writing to etcd", source: error.into() })?;
        let known =
            self.shared.memory.get(key).filter(|known| precondition == Precondition::Revision(known.mod_revision));
        let lease = match life {
            Life::Stays => None,
            Life::Ends(lease) => Some(lease),
            Life::AsBefore => known.as_ref().and_then(|known| known.lease),
        };
        let ignore_lease = matches!(life, Life::AsBefore);
        let number = if ignore_lease { 0 } else { i64::try_from(Lease::number(lease)).unwrap_or_default() };
        let put = PutRequest { key: self.key(key), value: kept, lease: number, ignore_lease };
        let mut operations = vec![Request::Put(put).into()];
        let created = known.map(|known| known.create_revision);
        let expected = match precondition {
            Precondition::Absent => 0,
            Precondition::Revision(0) => NEVER,
            Precondition::Revision(revision) => {
                if created.is_none() {
                    // Memory is behind; etcd says when the key was made.
                    let read = RangeRequest { key: self.key(key), keys_only: true, ..RangeRequest::default() };
                    operations.push(Request::Range(read).into());
                }
                i64::try_from(revision).unwrap_or(NEVER)
            }
        };
        let (revision, responses) = self.write("writing to etcd", key, expected, operations).await?;
        let read = first_kv(&responses).map(|kv| unsigned(kv.create_revision));
        let create_revision = created.or(read).unwrap_or(revision);
        Ok(Entry { key: key.into(), value, create_revision, mod_revision: revision, lease })
    }

    /// Deletes a key that was last changed by `revision`.
    pub(super) async fn delete_at(&self, key: &str, revision: u64) -> Result<u64, Error> {
        // To etcd, 0 is the revision of a key that is not there.
        let expected = if revision == 0 { NEVER } else { i64::try_from(revision).unwrap_or(NEVER) };
        let delete = Request::Delete(DeleteRangeRequest { key: self.key(key) });
        self.write("deleting in etcd", key, expected, vec![delete.into()]).await.map(|(revision, _)| revision)
    }

    /// Does `operations` where the key was last changed by `expected` (0: is not there). Answers the revision and what
    /// was answered; [`Error::Conflict`] otherwise.
    async fn write(
        &self,
        doing: &'static str,
        key: &str,
        expected: i64,
        operations: Vec<RequestOp>,
    ) -> Result<(u64, Vec<wire::ResponseOp>), Error> {
        let key = self.key(key);
        let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let answer = self.shared.connection.txn(TxnRequest {
            compare: vec![Compare { result: 0, target: TARGET_MOD, key, with: Some(Target::ModRevision(expected)) }],
            success: operations,
            failure: vec![Request::Range(read).into()],
        });
        let answer = answer.await.map_err(|status| failed(doing, status))?;
        if !answer.succeeded {
            let current = self.shared.found(first_kv(&answer.responses))?;
            return Err(Error::Conflict { current });
        }
        let revision = unsigned(answer.header.map_or(0, |header| header.revision));
        self.reach(revision).await?;
        Ok((revision, answer.responses))
    }
}

fn first_kv(responses: &[wire::ResponseOp]) -> Option<&KeyValue> {
    responses.iter().find_map(|response| match &response.response {
        Some(Response::Range(range)) => range.kvs.first(),
        _ => None,
    })
}
