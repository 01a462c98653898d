//! Which requests have done their work: pure. The times are those of Kubernetes.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

const DONE: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// Whether a request may be deleted: an hour after it was decided, a day where nobody decides.
pub fn is_old(request: &CertificateSigningRequest, now: Timestamp) -> bool {
    let status = request.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let issued = status.certificate.is_some_and(|certificate| !certificate.0.is_empty());
    let older =
        |since: Option<Timestamp>, than: SignedDuration| since.is_some_and(|since| now.duration_since(since) > than);
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let decided = conditions.iter().filter(|condition| condition.status != "False");
    let mut final_at = decided.clone().filter(|condition| condition.type_ != "Approved" || issued);
    if final_at.clone().next().is_some() {
        return final_at.any(|condition| older(condition.last_update_time.as_ref().map(|time| time.0), DONE));
    }
    older(created, PENDING)
}
