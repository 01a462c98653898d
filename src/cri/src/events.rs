//! The word that something happened to a container, from whichever stream the runtime has: CRI's own (containerd 1.7,
//! CRI-O 1.26), or containerd's, which every version of it serves on the same socket.

use futures::{StreamExt, TryStreamExt, stream};
use http::uri::PathAndQuery;
use k8s_cri::v1;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::import::NAMESPACE;
use crate::{Error, EventStream};

const CRI: &str = "GetContainerEvents";
const CONTAINERD: &str = "Subscribe";
/// What containerd is asked for. Starts are the agent's own doing.
const TOPICS: [&str; 3] = ["/tasks/exit", "/tasks/oom", "/containers/delete"];

/// containerd's `services.events.v1.SubscribeRequest`.
#[derive(Clone, PartialEq, Message)]
struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

/// containerd's `services.events.v1.Envelope`, of which only this is read.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "4")]
    event: Option<Any>,
}

/// `google.protobuf.Any` without its type: the events asked for begin alike.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// How containerd's events of tasks begin. `id` is the process: the container's own has the container's id.
#[derive(Clone, PartialEq, Message)]
struct TaskEvent {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, tag = "2")]
    id: String,
}

/// Opens the stream when it is first asked for an item. Servers answer with their first event, so that opening takes
/// as long as nothing happens.
pub fn open(channel: Channel) -> EventStream {
    stream::once(subscribe(channel)).try_flatten().boxed()
}

async fn subscribe(channel: Channel) -> Result<EventStream, Error> {
    let mut runtime = RuntimeServiceClient::new(channel.clone());
    match runtime.get_container_events(v1::GetEventsRequest {}).await {
        Ok(events) => Ok(events.into_inner().map(|event| event.map(drop).map_err(failed(CRI))).boxed()),
        Err(status) if status.code() == tonic::Code::Unimplemented => containerd(channel).await,
        Err(status) => Err(failed(CRI)(status)),
    }
}

async fn containerd(channel: Channel) -> Result<EventStream, Error> {
    let mut service = tonic::client::Grpc::new(channel);
    service.ready().await.map_err(Error::Transport)?;
    let filters = TOPICS.iter().map(|topic| format!("namespace==\"{NAMESPACE}\",topic==\"{topic}\"")).collect();
    let mut request = Request::new(SubscribeRequest { filters });
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
    let codec = ProstCodec::<SubscribeRequest, Envelope>::default();
    let events = service.server_streaming(request, path, codec).await.map_err(failed(CONTAINERD))?.into_inner();
    let told = events.try_filter_map(async |envelope| Ok(concerns_container(&envelope).then_some(())));
    Ok(told.map_err(failed(CONTAINERD)).boxed())
}

fn failed(call: &'static str) -> impl Fn(Status) -> Error {
    move |status| Error::Call { call, status: Box::new(status) }
}

/// False for the end of a command that was run in a container beside its own process: probes do that all the time.
fn concerns_container(envelope: &Envelope) -> bool {
    let value = envelope.event.as_ref().map(|event| event.value.as_slice()).unwrap_or_default();
    // What does not decode is rather looked at once too often.
    TaskEvent::decode(value).map_or(true, |event| event.id.is_empty() || event.id == event.container_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_containers_are_no_events_of_theirs() {
        let of = |container_id: &str, id: &str| {
            let event = TaskEvent { container_id: container_id.into(), id: id.into() };
            concerns_container(&Envelope { event: Some(Any { value: event.encode_to_vec() }) })
        };
        assert!(of("c", "c"));
        assert!(of("c", ""));
        assert!(!of("c", "probe"));
        assert!(concerns_container(&Envelope { event: Some(Any { value: vec![0xff] }) }));
    }
}
