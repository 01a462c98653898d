//! Carrying out: look, check everything, plan, write the inventory, apply, prune, write the inventory again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use machinery::meta;
use serde_json::Value;

use crate::cluster::{self, Cluster};
use crate::inventory::{self, Entry, INVENTORY_NAME};
use crate::object::{self, Key};
use crate::plan::{self, Compared, Former, Step};
use crate::render::Rendered;
use crate::wanted::{self, Wanted};
use crate::{Error, PRUNE, Problem};

/// Where objects are checked whose own namespace is still to be made.
const CHECK_NAMESPACE: &str = "default";

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many objects are managed.
    pub objects: usize,
    /// What was applied because it was not as it should be.
    pub applied: Vec<String>,
    /// What was deleted because it is wanted no longer.
    pub pruned: Vec<String>,
}

/// Objects that were found to be as the commit has them, by the resourceVersion they had then: nothing needs to be
/// asked again while it stays. Holds for one commit.
pub type Known = HashMap<Key, String>;

/// A wanted object as it was found.
struct Found {
    compared: Compared,
    /// Where it is there and was applied by us.
    uid: String,
    /// Whether somebody wrote it by kubectl.
    by_hand: bool,
}

/// Makes the cluster equal to the objects.
///
/// # Errors
/// [`Error::Invalid`] before anything is changed, [`Error::Incomplete`] after; and those of the API.
pub async fn bring_about(client: &kube::Client, rendered: Vec<Rendered>, known: &mut Known) -> Result<Outcome, Error> {
    let cluster = Cluster::new(client.clone());
    let served = cluster.served(&wanted::kinds(&rendered)).await?;
    let wanted = wanted::understand(rendered, &served).map_err(Error::Invalid)?;
    let stored = inventory::read(cluster::read_books(client, INVENTORY_NAME).await?.as_ref())?;
    let found = observe(&cluster, &wanted, known).await?;
    let formers = observe_formers(&cluster, &wanted, &stored).await?;
    let compared: Vec<Compared> = found.iter().map(|one| one.compared).collect();
    let steps = plan::plan(&wanted, &compared, &stored, &formers);

    let mut entries: Vec<Entry> = wanted.iter().zip(&found).map(|(one, found)| one.entry(&found.uid)).collect();
    write_inventory(client, &stored, &inventory::union(&stored, &entries)).await?;
    let mut outcome = Outcome { objects: wanted.len(), ..Outcome::default() };
    let by_hand: Vec<bool> = found.iter().map(|one| one.by_hand).collect();
    apply(&cluster, &wanted, &by_hand, &steps, &mut entries, &mut outcome).await?;
    let left = prune(&cluster, &steps, &mut outcome).await;
    let unknown = plan::former(&wanted, &stored).into_iter().filter(|entry| !formers.contains_key(&entry.key()));
    entries.extend(left.iter().map(|(entry, _)| entry.clone()).chain(unknown.cloned()));
    // What was stored may be the union by now: write wherever it is not what it should be in the end.
    let now = inventory::read(cluster::read_books(client, INVENTORY_NAME).await?.as_ref())?;
    write_inventory(client, &now, &inventory::union(&[], &entries)).await?;
    if left.is_empty() { Ok(outcome) } else { Err(Error::Incomplete(left.into_iter().map(|(_, why)| why).collect())) }
}

async fn write_inventory(client: &kube::Client, stored: &[Entry], new: &[Entry]) -> Result<(), Error> {
    if stored != new {
        cluster::write_books(client, &inventory::config_map(new)).await?;
    }
    Ok(())
}

/// Compares every wanted object with what is there, which checks it too: the server says what it would make of it.
async fn observe(cluster: &Cluster, wanted: &[Wanted], known: &mut Known) -> Result<Vec<Found>, Error> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    // Namespaces that this commit brings; they come first in `wanted`.
    let mut coming = BTreeSet::new();
    for one in wanted {
        match observe_one(cluster, one, &coming, known).await {
            Ok(state) => {
                if state.compared == Compared::Absent && one.key.group.is_empty() && one.key.kind == "Namespace" {
                    coming.insert(one.key.name.clone());
                }
                found.push(state);
            }
            Err(error) => problems.push(one.problem(stdx::error::chain(&error))),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Error::Invalid(problems)) }
}

async fn observe_one(
    cluster: &Cluster,
    one: &Wanted,
    coming: &BTreeSet<String>,
    known: &mut Known,
) -> Result<Found, client::Error> {
    let absent = Found { compared: Compared::Absent, uid: String::new(), by_hand: false };
    if !one.is_served {
        return Ok(absent);
    }
    if coming.contains(&one.key.namespace) {
        cluster.apply(&stand_in(cluster, &one.object).await?, true).await?;
        return Ok(absent);
    }
    let live = cluster.get(&one.object).await?;
    if let Some(live) = &live
        && known.get(&one.key).is_some_and(|version| version == meta::resource_version(live))
    {
        return Ok(Found { compared: Compared::Same, uid: meta::uid(live).to_owned(), by_hand: false });
    }
    let planned = cluster.apply(&one.object, true).await?;
    let Some(live) = live else { return Ok(absent) };
    let by_hand = object::taken_back(&live).is_some();
    // Who owns what is part of it: what is as it should be by chance is applied once, and then it is ours.
    if !by_hand && object::owned(&live) == object::owned(&planned) && !object::differs(&live, &planned) {
        known.insert(one.key.clone(), meta::resource_version(&live).to_owned());
        return Ok(Found { compared: Compared::Same, uid: meta::uid(&live).to_owned(), by_hand });
    }
    known.remove(&one.key);
    let uid = if object::is_ours(&live) { meta::uid(&live).to_owned() } else { String::new() };
    Ok(Found { compared: Compared::Differs, uid, by_hand })
}

/// The object as it can be checked while its namespace is not there: in another one, under a name that is free.
async fn stand_in(cluster: &Cluster, object: &Value) -> Result<Value, client::Error> {
    let mut copy = object.clone();
    meta::set_namespace(&mut copy, CHECK_NAMESPACE);
    if cluster.get(&copy).await?.is_some() {
        let name = format!("{}-rkctl-check", meta::name(&copy));
        meta::set_name(&mut copy, &name);
    }
    if meta::kind(&copy) == "Pod"
        && let Some(spec) = copy.get_mut("spec").and_then(Value::as_object_mut)
    {
        // The account comes with the namespace.
        spec.remove("serviceAccountName");
        spec.remove("serviceAccount");
    }
    Ok(copy)
}

async fn observe_formers(
    cluster: &Cluster,
    wanted: &[Wanted],
    stored: &[Entry],
) -> Result<BTreeMap<Key, Former>, Error> {
    let mut formers = BTreeMap::new();
    for entry in plan::former(wanted, stored) {
        let live = cluster.get_entry(entry).await?;
        formers.insert(entry.key(), judge(entry, live.as_ref()));
    }
    Ok(formers)
}

/// What has become of an object that was applied before.
fn judge(entry: &Entry, live: Option<&Value>) -> Former {
    let Some(live) = live.filter(|live| !meta::is_terminating(live)) else { return Former::Gone };
    let uid = meta::uid(live);
    // Without a uid the apply may never have come to pass, and the object may be someone else's.
    let is_same = if entry.uid.is_empty() { object::is_ours(live) } else { entry.uid == uid };
    if !is_same {
        Former::Gone
    } else if plan::is_kept(&entry.key()) || meta::annotation(live, PRUNE) == Some("disabled") {
        Former::Protected
    } else {
        Former::Present { uid: uid.to_owned() }
    }
}

/// Applies rank by rank; a rank with a failure is finished, and the next one is not begun.
async fn apply(
    cluster: &Cluster,
    wanted: &[Wanted],
    by_hand: &[bool],
    steps: &[Step],
    entries: &mut [Entry],
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut rank = 0;
    let indexes = steps.iter().filter_map(|step| if let Step::Apply(index) = step { Some(*index) } else { None });
    for index in indexes {
        let one = &wanted[index];
        if one.rank != rank && !problems.is_empty() {
            break;
        }
        rank = one.rank;
        let apply = async {
            if !one.is_served {
                cluster.wait_until_served(&one.object).await?;
            }
            if by_hand[index] {
                cluster.take_back(&one.object).await?;
            }
            cluster.apply(&one.object, false).await
        };
        match apply.await {
            Ok(applied) => {
                entries[index].uid = meta::uid(&applied).to_owned();
                outcome.applied.push(one.key.to_string());
            }
            Err(error) => problems.push(one.problem(stdx::error::chain(&error))),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Incomplete(problems)) }
}

/// Deletes what is wanted no longer, and answers what could not be.
async fn prune(cluster: &Cluster, steps: &[Step], outcome: &mut Outcome) -> Vec<(Entry, Problem)> {
    let mut left = Vec::new();
    for step in steps {
        let Step::Prune(entry) = step else { continue };
        let object = entry.key().to_string();
        match cluster.delete(entry).await {
            Ok(()) => outcome.pruned.push(object),
            Err(error) => {
                let problem = Problem { file: String::new(), object, message: stdx::error::chain(&error) };
                left.push((entry.clone(), problem));
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_applied_by_us_is_pruned() {
        let entry = |uid: &str| Entry {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: "a".into(),
            name: "b".into(),
            uid: uid.into(),
        };
        let ours =
            json!({"metadata": {"uid": "1", "managedFields": [{"manager": "rkctl-gitops", "operation": "Apply"}]}});
        let others = json!({"metadata": {"uid": "1"}});
        let protected = json!({"metadata": {"uid": "1", "annotations": {"rkctl.dev/prune": "disabled"}}});
        let leaving = json!({"metadata": {"uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let present = Former::Present { uid: "1".into() };
        let table = [
            (entry("1"), Some(&ours), present.clone()),
            (entry("1"), Some(&others), present.clone()),
            (entry(""), Some(&ours), present),
            (entry(""), Some(&others), Former::Gone),
            (entry("2"), Some(&ours), Former::Gone),
            (entry("1"), Some(&protected), Former::Protected),
            (entry("1"), Some(&leaving), Former::Gone),
            (entry("1"), None, Former::Gone),
        ];
        for (entry, live, expected) in table {
            assert_eq!(judge(&entry, live), expected, "{entry:?} {live:?}");
        }
    }
}
