"""Events, in the core group and in their own."""

import unittest

from support import MERGE, NAMESPACE, ask, create, get, here, word

CORE_EVENTS = here("events")
EVENTS = here("events", "events.k8s.io/v1")
TIME = "2026-01-02T03:04:05.123456Z"
LATER = "2026-01-02T03:05:05.123456Z"


def core_event(name, labels):
    """An Event as older programs make it."""
    regarding = {"namespace": NAMESPACE}
    return {"metadata": {"name": name, "labels": labels}, "involvedObject": regarding, "message": "a test event", "reason": "Test",
            "type": "Normal", "source": {"component": "tests"}, "firstTimestamp": "2026-01-02T03:04:05Z", "count": 1}


def event(name, labels):
    """An Event of events.k8s.io."""
    return {"metadata": {"name": name, "labels": labels}, "regarding": {"namespace": NAMESPACE}, "note": "a test event", "reason": "Test",
            "type": "Normal", "action": "Do", "reportingController": "test-controller", "reportingInstance": "test-node",
            "eventTime": TIME}


class Events(unittest.TestCase):
    # conformance: an event of the core group lives with a series
    def test_an_event_of_the_core_group_lives_with_a_series(self):
        name = word()
        path = f"{CORE_EVENTS}/{name}"
        create(CORE_EVENTS, core_event(name, {"testevent-constant": "true"}))
        listed = get("/api/v1/events?labelSelector=testevent-constant%3Dtrue")["items"]
        self.assertIn((NAMESPACE, name), [(found["metadata"]["namespace"], found["metadata"]["name"]) for found in listed])
        patched = ask("PATCH", path, {"message": "This is a test event - patched"}, MERGE).ok()
        self.assertEqual(patched["message"], "This is a test event - patched")
        current = get(path)
        current["series"] = {"count": 100, "lastObservedTime": LATER}
        ask("PUT", path, current).ok()
        self.assertEqual(get(path)["series"], {"count": 100, "lastObservedTime": LATER})
        ask("DELETE", path).ok()
        ask("GET", path).refused(404, "NotFound")

    # conformance: events of the core group are deleted by label
    def test_events_of_the_core_group_are_deleted_by_label(self):
        label = word()
        for number in range(3):
            create(CORE_EVENTS, core_event(f"{label}-{number}", {"testevent-set": label}))
        query = f"?labelSelector=testevent-set%3D{label}"
        self.assertEqual(len(get(CORE_EVENTS + query)["items"]), 3)
        ask("DELETE", CORE_EVENTS + query).ok()
        self.assertEqual(get(CORE_EVENTS + query)["items"], [])

    # conformance: an event of the events group lives with a series
    def test_an_event_of_the_events_group_lives_with_a_series(self):
        name = word()
        path = f"{EVENTS}/{name}"
        create(EVENTS, event(name, {"testevent-constant": "true"}))
        for listing in ("/apis/events.k8s.io/v1/events", EVENTS):
            listed = get(f"{listing}?labelSelector=testevent-constant%3Dtrue")["items"]
            self.assertIn(name, [found["metadata"]["name"] for found in listed])
        selected = get(f"{EVENTS}?fieldSelector=reportingController%3Dtest-controller")["items"]
        self.assertEqual([found["metadata"]["name"] for found in selected], [name])
        series = {"count": 2, "lastObservedTime": LATER}
        self.assertEqual(ask("PATCH", path, {"series": series}, MERGE).ok()["series"], series)
        current = get(path)
        current["series"] = {"count": 100, "lastObservedTime": LATER}
        ask("PUT", path, current).ok()
        self.assertEqual(get(path)["series"]["count"], 100)
        # The same object in the other group.
        self.assertEqual(get(f"{CORE_EVENTS}/{name}")["message"], "a test event")
        ask("DELETE", path).ok()
        ask("GET", path).refused(404, "NotFound")

    # conformance: events of the events group are deleted by label
    def test_events_of_the_events_group_are_deleted_by_label(self):
        label = word()
        for number in range(3):
            create(EVENTS, event(f"{label}-{number}", {"testevent-set": label}))
        query = f"?labelSelector=testevent-set%3D{label}"
        self.assertEqual(len(get(EVENTS + query)["items"]), 3)
        ask("DELETE", EVENTS + query).ok()
        self.assertEqual(get(EVENTS + query)["items"], [])


if __name__ == "__main__":
    unittest.main()
