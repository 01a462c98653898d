use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn entry(key: &str, revision: u64) -> Arc<Entry> {
    Arc::new(Entry {
        key: key.into(),
        value: Bytes::new(),
        create_revision: revision,
        mod_revision: revision,
        lease: None,
    })
}

/// Checks depth, order, sizes and counts below a node; answers its depth.
fn check(node: &Node, root: bool) -> usize {
    assert!(node.width() <= NODE_MAX && (root || node.width() >= 1), "width {}", node.width());
    match node {
        Node::Leaf(entries) => {
            assert!(entries.is_sorted_by(|a, b| a.key < b.key));
            0
        }
        Node::Inner(children) => {
            assert!(children.len() > 1 || !root);
            let depths: Vec<usize> = children.iter().map(|child| check(&child.node, false)).collect();
            assert!(depths.iter().all(|depth| *depth == depths[0]));
            for child in children.iter() {
                assert_eq!(child.len, child.node.len());
            }
            depths[0] + 1
        }
    }
}

fn all(tree: &Tree) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    tree.visit_from(0, &mut |entry| {
        found.push((entry.key.to_string(), entry.mod_revision));
        true
    });
    found
}

/// Keys short and long, that begin alike for long or not at all, that others begin with, with zeros behind or not.
fn name(number: u16) -> String {
    let rest = number / 6;
    match number % 6 {
        0 => format!("/k/{rest}"),
        1 => format!("/k/{rest}\0"),
        2 => format!("/k/{}{rest:05}", "like".repeat(20)),
        3 => format!("/k/{}\0{rest}", "like".repeat(usize::from(rest % 4))),
        4 => "ä".repeat(usize::from(rest % 30)),
        _ => format!("/registry/configmaps/bench/{:04}-{:08}", rest % 7, rest),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u16),
    Remove(u16),
    Snapshot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u16..600).prop_map(Step::Insert),
        5 => (0u16..600).prop_map(Step::Remove),
        1 => Just(Step::Snapshot),
    ];
    proptest::collection::vec(step, 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_btree_map_and_snapshots_never_change(steps in steps(), bound in 0u16..700) {
        let mut tree = Tree::default();
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        let mut snapshots = Vec::new();
        for (revision, step) in steps.into_iter().enumerate() {
            let revision = revision as u64;
            match step {
                Step::Insert(key) => {
                    let key = name(key);
                    let replaced = tree.insert(entry(&key, revision)).map(|entry| entry.mod_revision);
                    prop_assert_eq!(replaced, model.insert(key, revision));
                }
                Step::Remove(key) => {
                    let key = name(key);
                    let removed = tree.remove(&key).map(|entry| entry.mod_revision);
                    prop_assert_eq!(removed, model.remove(&key));
                }
                Step::Snapshot => snapshots.push((tree.clone(), model.clone())),
            }
        }
        check(&tree.root, true);
        snapshots.push((tree, model));
        let bound = name(bound);
        for (tree, model) in snapshots {
            prop_assert_eq!(tree.len(), model.len());
            prop_assert_eq!(tree.get(&bound).map(|entry| entry.mod_revision), model.get(&bound).copied());
            let rank = tree.rank(bound.as_bytes());
            prop_assert_eq!(rank, model.range(..bound.clone()).count());
            let mut rest = Vec::new();
            tree.visit_from(rank, &mut |entry| { rest.push(entry.key.to_string()); rest.len() < 40 });
            let expected: Vec<String> = model.range(bound.clone()..).take(40).map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(rest, expected);
            prop_assert_eq!(all(&tree), model.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn many_keys_in_order_and_out_again() {
    let mut tree = Tree::default();
    for number in 0..20_000u64 {
        tree.insert(entry(&format!("/{number:06}"), number));
    }
    assert!(check(&tree.root, true) >= 2);
    for number in 0..20_000u64 {
        assert!(tree.remove(&format!("/{number:06}")).is_some());
    }
    assert_eq!(tree.len(), 0);
    check(&tree.root, true);
}

#[test]
fn the_end_of_a_prefix_is_behind_everything_that_begins_with_it() {
    assert_eq!(prefix_end("/a/"), Some(b"/a0".to_vec()));
    assert_eq!(prefix_end(""), None);
    let end = prefix_end("ä").expect("has an end");
    assert!("äz".as_bytes() < end.as_slice() && "å".as_bytes() >= end.as_slice());
}
