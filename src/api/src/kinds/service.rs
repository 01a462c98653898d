//! Service.

mod columns;
mod update;
mod validate;

use jiff::Timestamp;
use machinery::field::FieldErrors;
use serde_json::{Value, json};

pub(in crate::kinds) use columns::load_balancer;

use crate::check::At;
use crate::edit::{fill, items_at, remove, set};
use crate::read;
use crate::resource::{Column, Kind};
use crate::{status, strategy};

/// How long a client stays with its pod.
const AFFINITY_SECONDS: i64 = 10_800;

/// The behaviour of Services. Addresses and node ports are allocated by whoever keeps their ranges.
pub struct Service;

impl Kind for Service {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec") else { return };
        let type_ = read::text(spec, "type").to_string();
        for port in items_at(spec, "ports") {
            // An empty name or a zero is no target.
            let is_unset = matches!(read::scalar(read::at(port, "targetPort")).as_str(), "" | "0");
            if is_unset {
                let own = read::at(port, "port").clone();
                set(port, "targetPort", own);
            }
        }
        if read::text(spec, "sessionAffinity") == "ClientIP" {
            fill(spec, "sessionAffinityConfig", json!({}));
            fill(&mut spec["sessionAffinityConfig"], "clientIP", json!({}));
            fill(&mut spec["sessionAffinityConfig"]["clientIP"], "timeoutSeconds", AFFINITY_SECONDS);
        } else if read::text(spec, "sessionAffinity") == "None" {
            // Whoever turns affinity off need not say that it is no longer set up.
            remove(spec, "sessionAffinityConfig");
        }
        let is_external = matches!(type_.as_str(), "NodePort" | "LoadBalancer");
        if is_external || (type_ == "ClusterIP" && !read::list(spec, "externalIPs").is_empty()) {
            fill(spec, "externalTrafficPolicy", "Cluster");
        }
        if type_ != "ExternalName" {
            fill(spec, "internalTrafficPolicy", "Cluster");
        }
        if type_ == "LoadBalancer" {
            fill(spec, "allocateLoadBalancerNodePorts", true);
            for place in items_at(object, "status.loadBalancer.ingress") {
                if !read::text(place, "ip").is_empty() {
                    fill(place, "ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        strategy::create(object, false);
        set(object, "status", json!({"loadBalancer": {}}));
        update::normalize_addresses(object, None);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        strategy::update(object, old, false);
        update::normalize_addresses(object, Some(old));
        update::keep_allocated(object, old);
        update::drop_unused(object, old);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        validate::validate(object)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> FieldErrors {
        validate::validate_update(object, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let balancer = At::root(object).at("status.loadBalancer");
        if read::text(object, "spec.type") == "LoadBalancer" {
            status::ingress(&balancer, &mut errors);
        } else if balancer.items("ingress").next().is_some() {
            balancer.at("ingress").forbidden(&mut errors, "may only be used when `spec.type` is LoadBalancer");
        }
        errors
    }

    fn columns(&self) -> Vec<Column<'_>> {
        columns::COLUMNS.to_vec()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        columns::cells(object, now)
    }

    fn fields(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }
}

#[cfg(test)]
mod tests;
