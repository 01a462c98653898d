"""Watches, through the client and as they are on the wire."""

import threading
import unittest

from kubernetes import watch

from support import CORE, MERGE, NAMESPACE, ask, create, events, get, here, word

MAPS = here("configmaps")


def make(label, **data):
    """A map with a label of this test."""
    return create(MAPS, {"metadata": {"name": word(8), "labels": {"watch": label}}, "data": data})


def change(made, **patch):
    """Patches a map."""
    return ask("PATCH", f"{MAPS}/{made['metadata']['name']}", patch, MERGE).ok()


def drop(made):
    """Deletes a map."""
    return ask("DELETE", f"{MAPS}/{made['metadata']['name']}").ok()


def seen(selector, since, count):
    """Type and mutation of the next events with that selector."""
    path = f"{MAPS}?watch=true&labelSelector={selector}&resourceVersion={since}"
    return [(kind, found["metadata"]["name"], (found.get("data") or {}).get("mutation")) for kind, found in events(path, count)]


class Watches(unittest.TestCase):
    def setUp(self):
        self.label = word(8)
        self.start = get(MAPS + "?limit=1")["metadata"]["resourceVersion"]

    # conformance: watches with selectors get what they select and nothing else
    def test_watches_with_selectors_get_what_they_select_and_nothing_else(self):
        a, b = f"{self.label}-a", f"{self.label}-b"
        first = make(a, mutation="0")
        other = make(b, mutation="0")
        change(first, data={"mutation": "1"})
        change(other, data={"mutation": "1"})
        drop(first)
        drop(other)
        one, two = first["metadata"]["name"], other["metadata"]["name"]
        of = lambda name: [("ADDED", name, "0"), ("MODIFIED", name, "1"), ("DELETED", name, "1")]
        self.assertEqual(seen(f"watch%3D{a}", self.start, 3), of(one))
        self.assertEqual(seen(f"watch%3D{b}", self.start, 3), of(two))
        both = seen(f"watch+in+({a},{b})", self.start, 6)
        self.assertEqual([event for event in both if event[1] == one], of(one))
        self.assertEqual([event for event in both if event[1] == two], of(two))

    # conformance: a watch starts after a version
    def test_a_watch_starts_after_a_version(self):
        made = make(self.label, mutation="0")
        since = change(made, data={"mutation": "1"})["metadata"]["resourceVersion"]
        change(made, data={"mutation": "2"})
        drop(made)
        name = made["metadata"]["name"]
        wanted = [("MODIFIED", name, "2"), ("DELETED", name, "2")]
        self.assertEqual(seen(f"watch%3D{self.label}", since, 2), wanted)

    # conformance: a watch that was closed goes on where it was
    def test_a_watch_that_was_closed_goes_on_where_it_was(self):
        made = make(self.label, mutation="0")
        stream, last = watch.Watch(), None
        listing = dict(namespace=NAMESPACE, label_selector=f"watch={self.label}", timeout_seconds=30)
        for event in stream.stream(CORE.list_namespaced_config_map, resource_version=self.start, **listing):
            self.assertEqual((event["type"], event["object"].data["mutation"]), ("ADDED", "0"))
            last = event["object"].metadata.resource_version
            stream.stop()
        change(made, data={"mutation": "1"})
        drop(made)
        found = []
        stream = watch.Watch()
        for event in stream.stream(CORE.list_namespaced_config_map, resource_version=last, **listing):
            found.append((event["type"], event["object"].data["mutation"]))
            if len(found) == 2:
                stream.stop()
        self.assertEqual(found, [("MODIFIED", "1"), ("DELETED", "1")])

    # conformance: an object that leaves the selector is deleted and one that comes back is added
    def test_an_object_that_leaves_the_selector_is_deleted_and_one_that_comes_back_is_added(self):
        made = make(self.label, mutation="0")
        change(made, metadata={"labels": {"watch": "elsewhere"}}, data={"mutation": "1"})
        change(made, data={"mutation": "2"})
        change(made, metadata={"labels": {"watch": self.label}})
        change(made, data={"mutation": "3"})
        drop(made)
        name = made["metadata"]["name"]
        wanted = [("ADDED", "0"), ("DELETED", "0"), ("ADDED", "2"), ("MODIFIED", "3"), ("DELETED", "3")]
        found = seen(f"watch%3D{self.label}", self.start, 5)
        self.assertEqual([(kind, mutation) for kind, _, mutation in found], wanted)
        self.assertEqual({found_name for _, found_name, _ in found}, {name})

    # conformance: watches at once tell the same order
    def test_watches_at_once_tell_the_same_order(self):
        writers, rounds = 3, 10

        def write(number):
            made = make(self.label, writer=str(number))
            for at in range(rounds):
                change(made, data={"at": str(at)})
            drop(made)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        total = writers * (rounds + 2)
        path = f"{MAPS}?watch=true&labelSelector=watch%3D{self.label}&resourceVersion={self.start}"
        orders = [None] * 5

        def follow(at):
            orders[at] = [(kind, found["metadata"]["resourceVersion"]) for kind, found in events(path, total)]

        followers = [threading.Thread(target=follow, args=(at,)) for at in range(len(orders))]
        for thread in followers:
            thread.start()
        for thread in threads + followers:
            thread.join()
        versions = [int(version) for _, version in orders[0]]
        self.assertEqual(len(versions), total)
        self.assertEqual(versions, sorted(set(versions)))
        for order in orders[1:]:
            self.assertEqual(order, orders[0])
        # Who begins at any of them sees the rest in that order.
        for at in range(0, total - 5, 5):
            later = events(path.replace(f"resourceVersion={self.start}", f"resourceVersion={versions[at]}"), 3)
            self.assertEqual([int(found["metadata"]["resourceVersion"]) for _, found in later], versions[at + 1 : at + 4])


if __name__ == "__main__":
    unittest.main()
