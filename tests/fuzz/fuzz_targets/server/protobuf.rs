//! Objects in Kubernetes' protobuf form: of any bytes no more is made than JSON may hold, and what was read or made by a
//! schema and is written is the same each time it is read and written again.
#![no_main]

use api::resource::Resource;
use apiserver::decoders::protobuf;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use machinery::strict;
use serde_json::Value;

/// A field of bytes, as protobuf writes it.
fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// A body of that kind.
fn body(resource: &Resource, raw: &[u8]) -> Vec<u8> {
    let (mut type_, mut out) = (Vec::new(), b"k8s\0".to_vec());
    field(1, resource.group_version.to_string().as_bytes(), &mut type_);
    field(2, resource.kind.as_bytes(), &mut type_);
    field(1, &type_, &mut out);
    field(2, raw, &mut out);
    out
}

fn stays(object: &Value) {
    assert!(strict::depth(object) <= strict::MAX_DEPTH);
    let Ok(written) = protobuf::encode(object) else { return };
    let read = protobuf::decode(&written).expect("what was written can be read");
    let written = protobuf::encode(&read).expect("what was read can be written");
    assert_eq!(protobuf::decode(&written).expect("what was written can be read"), read);
    let event = protobuf::watch_event("ADDED", &read).expect("what can be written can be told of");
    assert_eq!(u32::from_be_bytes([event[0], event[1], event[2], event[3]]) as usize, event.len() - 4);
}

fn run(data: &[u8]) -> Result<()> {
    let mut u = Unstructured::new(data);
    let way = u.int_in_range(0..=3)?;
    let resource = fuzz::resource(&mut u)?;
    if way == 0 {
        let object = fuzz::object(&mut u, resource)?;
        if let Some(object) = fuzz::complete(resource, object).filter(|_| protobuf::speaks(resource)) {
            stays(&object);
        }
        return Ok(());
    }
    let rest = u.take_rest();
    let bytes = if way == 1 { rest.to_vec() } else { body(resource, rest) };
    if let Ok(object) = protobuf::decode(&bytes) {
        stays(&object);
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // An input that ends early has said what it says.
    let _ = run(data);
});
