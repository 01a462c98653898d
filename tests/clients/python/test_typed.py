"""The typed client: every kind of patch, updates that conflict, lists with selectors, and refusals."""

import datetime
import json
import unittest

from kubernetes import client, dynamic, utils, watch

from support import API, APPS, CORE, NAMESPACE, until, word

LABELS = {"a": "b"}


def deployment(name):
    """A Deployment of the client's own types."""
    container = client.V1Container(name="c", image="a:1")
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=LABELS), spec=client.V1PodSpec(containers=[container]))
    spec = client.V1DeploymentSpec(replicas=0, selector=client.V1LabelSelector(match_labels=LABELS), template=template)
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


class Typed(unittest.TestCase):
    def test_objects_are_made_read_replaced_and_deleted(self):
        name = word(8)
        made = APPS.create_namespaced_deployment(NAMESPACE, deployment(name))
        self.assertIsInstance(made.metadata.creation_timestamp, datetime.datetime)
        observed = lambda: (APPS.read_namespaced_deployment(name, NAMESPACE).status.conditions or []) and True
        until("the controller has seen it", observed)
        read = APPS.read_namespaced_deployment(name, NAMESPACE)
        read.metadata.annotations = {**(read.metadata.annotations or {}), "seen": "yes"}
        # What was read goes back as it is, times included.
        replaced = APPS.replace_namespaced_deployment(name, NAMESPACE, read)
        self.assertEqual(replaced.metadata.annotations["seen"], "yes")
        with self.assertRaises(client.ApiException) as conflict:
            APPS.replace_namespaced_deployment(name, NAMESPACE, made)
        self.assertEqual(conflict.exception.status, 409)
        scale = APPS.read_namespaced_deployment_scale(name, NAMESPACE)
        scale.metadata.resource_version = None
        self.assertEqual(APPS.replace_namespaced_deployment_scale(name, NAMESPACE, scale).spec.replicas, 0)
        APPS.delete_namespaced_deployment(name, NAMESPACE, propagation_policy="Background")
        with self.assertRaises(client.ApiException) as missing:
            APPS.read_namespaced_deployment(name, NAMESPACE)
        self.assertEqual(missing.exception.status, 404)

    def test_a_dictionary_is_a_strategic_patch_and_a_list_a_json_patch(self):
        name = word(8)
        APPS.create_namespaced_deployment(NAMESPACE, deployment(name))
        side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}}}
        patched = APPS.patch_namespaced_deployment(name, NAMESPACE, side)
        self.assertEqual({found.name for found in patched.spec.template.spec.containers}, {"c", "side"})
        step = [{"op": "add", "path": "/spec/minReadySeconds", "value": 7}]
        self.assertEqual(APPS.patch_namespaced_deployment(name, NAMESPACE, step).spec.min_ready_seconds, 7)
        APPS.delete_namespaced_deployment(name, NAMESPACE)

    def test_the_dynamic_client_patches_in_every_form_and_applies(self):
        maps = dynamic.DynamicClient(API).resources.get(api_version="v1", kind="ConfigMap")
        name = word(8)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}
        maps.create(body=body, namespace=NAMESPACE)
        patch = lambda body, form: maps.patch(body=body, name=name, namespace=NAMESPACE, content_type=form).to_dict()["data"]
        self.assertEqual(patch({"data": {"b": "2"}}, "application/merge-patch+json"), {"a": "1", "b": "2"})
        self.assertEqual(patch({"data": {"b": None}}, "application/strategic-merge-patch+json"), {"a": "1"})
        step = [{"op": "add", "path": "/data/c", "value": "3"}]
        self.assertEqual(patch(step, "application/json-patch+json"), {"a": "1", "c": "3"})
        maps.replace(body={**body, "data": {"a": "9"}}, namespace=NAMESPACE)
        self.assertEqual(maps.get(name=name, namespace=NAMESPACE).data.a, "9")
        with self.assertRaises(dynamic.exceptions.NotFoundError):
            maps.get(name="nobody", namespace=NAMESPACE)
        with self.assertRaises(dynamic.exceptions.ConflictError):
            maps.create(body=body, namespace=NAMESPACE)
        maps.delete(name=name, namespace=NAMESPACE)

    def test_a_watch_follows_a_list(self):
        label = word(8)
        listed = CORE.list_namespaced_secret(NAMESPACE, label_selector=f"l={label}")
        CORE.create_namespaced_secret(NAMESPACE, {"metadata": {"name": label, "labels": {"l": label}}, "stringData": {"k": "v"}})
        CORE.patch_namespaced_secret(label, NAMESPACE, {"stringData": {"k": "w"}})
        CORE.delete_namespaced_secret(label, NAMESPACE)
        stream, found = watch.Watch(), []
        version = listed.metadata.resource_version
        options = dict(namespace=NAMESPACE, label_selector=f"l={label}", resource_version=version, timeout_seconds=30)
        for event in stream.stream(CORE.list_namespaced_secret, **options):
            found.append((event["type"], event["object"].data["k"]))
            if len(found) == 3:
                stream.stop()
        self.assertEqual(found, [("ADDED", "dg=="), ("MODIFIED", "dw=="), ("DELETED", "dw==")])

    def test_files_of_many_kinds_are_made(self):
        name = word(8)
        objects = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}},
            {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": {"schedule": "0 0 1 1 *", "suspend": True,
             "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}},
            {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": {"podSelector": {}}},
        ]
        for made in objects:
            utils.create_from_dict(API, made, namespace=NAMESPACE)
        self.assertEqual(client.BatchV1Api(API).read_namespaced_cron_job(name, NAMESPACE).spec.schedule, "0 0 1 1 *")
        with self.assertRaises(utils.FailToCreateError):
            utils.create_from_dict(API, objects[0], namespace=NAMESPACE)

    def test_refusals_are_statuses(self):
        with self.assertRaises(client.ApiException) as refused:
            CORE.create_namespaced_service(NAMESPACE, {"metadata": {"name": "Not valid"}, "spec": {"ports": []}})
        self.assertEqual((refused.exception.status, refused.exception.reason), (422, "Unprocessable Entity"))
        status = json.loads(refused.exception.body)
        self.assertEqual((status["reason"], status["details"]["kind"]), ("Invalid", "Service"))
        self.assertIn("metadata.name", [cause["field"] for cause in status["details"]["causes"]])


if __name__ == "__main__":
    unittest.main()
