//! What is to be done: a pure function of what is wanted, what was applied before, and what is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::Entry;
use crate::object::Key;
use crate::order;
use crate::wanted::Wanted;

/// How a wanted object compares to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// It is not there, or cannot be: its namespace or kind comes first.
    Absent,
    /// It is there, and applying it changes nothing.
    Same,
    /// It is there, and applying it changes it.
    Differs,
}

/// What has become of an object that was applied before and is wanted no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Former {
    /// It is gone or on its way out, or another object has its name.
    Gone,
    /// It is there and to be kept: it says so, or the cluster cannot be without it.
    Protected,
    /// It is there.
    Present {
        /// Of the object that is there.
        uid: String,
    },
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Apply the wanted object of this index.
    Apply(usize),
    /// Delete an object, if it still has this uid.
    Prune(Entry),
    /// Strike an object from the inventory and leave it.
    Release(Entry),
}

/// Namespaces no cluster can be without.
const KEPT_NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Whether an object is kept whatever Git says.
pub fn is_kept(key: &Key) -> bool {
    key.group.is_empty() && key.kind == "Namespace" && KEPT_NAMESPACES.contains(&key.name.as_str())
}

/// Entries of the inventory that are not wanted any more.
pub fn former<'a>(wanted: &[Wanted], inventory: &'a [Entry]) -> Vec<&'a Entry> {
    let keys: BTreeSet<&Key> = wanted.iter().map(|one| &one.key).collect();
    inventory.iter().filter(|entry| !keys.contains(&entry.key())).collect()
}

/// The steps from what is to what is wanted: applies by rank, then prunes backwards. `wanted` is in the order of
/// applying, `compared` goes with it. A former object of which nothing is known is left in the inventory.
pub fn plan(
    wanted: &[Wanted],
    compared: &[Compared],
    inventory: &[Entry],
    formers: &BTreeMap<Key, Former>,
) -> Vec<Step> {
    let applies = compared.iter().enumerate().filter(|(_, compared)| **compared != Compared::Same);
    let mut steps: Vec<Step> = applies.map(|(index, _)| Step::Apply(index)).collect();
    let mut unwanted = former(wanted, inventory);
    unwanted.sort_by_key(|entry| std::cmp::Reverse((order::rank(&entry.key()), entry.key())));
    for entry in unwanted {
        match formers.get(&entry.key()) {
            Some(Former::Present { uid }) => steps.push(Step::Prune(Entry { uid: uid.clone(), ..entry.clone() })),
            Some(Former::Gone | Former::Protected) => steps.push(Step::Release(entry.clone())),
            None => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(kind: &str, namespace: &str, name: &str) -> Wanted {
        let key = Key { group: String::new(), kind: kind.into(), namespace: namespace.into(), name: name.into() };
        let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        Wanted { file: "a.yaml".into(), rank: order::rank(&key), key, object, is_served: true }
    }

    fn entry(kind: &str, namespace: &str, name: &str, uid: &str) -> Entry {
        let (api_version, namespace, name) = ("v1".to_owned(), namespace.to_owned(), name.to_owned());
        Entry { api_version, kind: kind.to_owned(), namespace, name, uid: uid.to_owned() }
    }

    fn present(uid: &str) -> Former {
        Former::Present { uid: uid.to_owned() }
    }

    #[test]
    fn only_what_differs_or_is_absent_is_applied() {
        let all = [wanted("Namespace", "", "a"), wanted("ConfigMap", "a", "b"), wanted("Service", "a", "c")];
        let inventory = [entry("ConfigMap", "a", "b", "1")];
        use Compared::{Absent, Differs, Same};
        let table = [
            ([Same, Same, Same], vec![]),
            ([Same, Differs, Same], vec![Step::Apply(1)]),
            ([Absent, Absent, Absent], vec![Step::Apply(0), Step::Apply(1), Step::Apply(2)]),
        ];
        for (compared, steps) in table {
            assert_eq!(plan(&all, &compared, &inventory, &BTreeMap::new()), steps, "{compared:?}");
        }
    }

    #[test]
    fn what_is_wanted_no_longer_is_pruned_backwards_unless_it_is_protected_or_gone() {
        let (namespace, map, service) =
            (entry("Namespace", "", "a", "1"), entry("ConfigMap", "a", "b", "2"), entry("Service", "a", "c", "3"));
        let inventory = [namespace.clone(), map.clone(), service.clone()];
        let formers = |namespace_is, map_is, service_is| {
            BTreeMap::from([(namespace.key(), namespace_is), (map.key(), map_is), (service.key(), service_is)])
        };
        let prune = |entry: &Entry| Step::Prune(entry.clone());
        let release = |entry: &Entry| Step::Release(entry.clone());
        let table = [
            (formers(present("1"), present("2"), present("3")), vec![prune(&service), prune(&map), prune(&namespace)]),
            (
                formers(Former::Protected, present("2"), Former::Gone),
                vec![release(&service), prune(&map), release(&namespace)],
            ),
            (BTreeMap::new(), vec![]),
        ];
        for (formers, steps) in table {
            assert_eq!(plan(&[], &[], &inventory, &formers), steps, "{formers:?}");
        }
    }

    #[test]
    fn the_uid_that_is_there_goes_with_the_prune() {
        let unknown = entry("ConfigMap", "a", "b", "");
        let steps = plan(&[], &[], std::slice::from_ref(&unknown), &BTreeMap::from([(unknown.key(), present("9"))]));
        assert_eq!(steps, [Step::Prune(entry("ConfigMap", "a", "b", "9"))]);
    }

    #[test]
    fn the_clusters_own_namespaces_are_kept() {
        assert!(is_kept(&wanted("Namespace", "", "kube-system").key));
        assert!(!is_kept(&wanted("Namespace", "", "web").key));
        assert!(!is_kept(&wanted("ConfigMap", "a", "default").key));
    }
}
