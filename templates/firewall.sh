#!/bin/sh
# Written by rkctl up: puts the cluster's openings into the chains that are there, once.
set -eu
PATH=$PATH:/usr/sbin:/sbin
nft -f /etc/rkctl/firewall.nft
{%- for chain in chains %}
nft list chain {{ chain.family }} {{ chain.table }} {{ chain.chain }} | grep -q 'jump rkctl-{{ chain.hook }}' ||
    nft insert rule {{ chain.family }} {{ chain.table }} {{ chain.chain }} jump rkctl-{{ chain.hook }}
{%- endfor %}
