"""Priority and fairness: the verbs of its objects."""

import unittest

from support import every_verb, word

GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"


class Fairness(unittest.TestCase):
    # conformance: FlowSchemas and PriorityLevelConfigurations: discovery, every verb and status
    def test_flows_and_levels_have_all_their_verbs(self):
        name = word(8)
        metadata = {"name": name, "labels": {"of": name}}
        of_nobody = {"kind": "User", "user": {"name": "nobody"}}
        urls = [{"verbs": ["get"], "nonResourceURLs": ["/nowhere"]}]
        flow = {
            "matchingPrecedence": 9000,
            "priorityLevelConfiguration": {"name": "global-default"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [of_nobody], "nonResourceRules": urls}],
        }
        every_verb(f"{GROUP}/flowschemas", {"metadata": metadata, "spec": flow}, has_status=True)
        level = {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}
        every_verb(f"{GROUP}/prioritylevelconfigurations", {"metadata": metadata, "spec": level}, has_status=True)


if __name__ == "__main__":
    unittest.main()
