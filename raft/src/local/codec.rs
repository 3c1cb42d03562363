//! Requests and responses as frames: a length (4 bytes, big-endian), a tag, and
//! a body, which is JSON, except that a peer's frame travels as it came.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame_reader::{LENGTH_BYTES, MAX_FRAME_BYTES};
use super::{Request, Response};
use crate::error::RaftError;

const JSON: u8 = b'J';
const RPC: u8 = b'R';

/// The bytes to send for `request`, its length included. Answers `TooLarge` if
/// they exceed [`MAX_FRAME_BYTES`].
pub fn encode_request(request: &Request) -> Result<Vec<u8>, RaftError> {
    match request {
        Request::Rpc(frame) => encode_bytes(RPC, frame),
        request => encode_json(request),
    }
}

/// The bytes to send for `response`, its length included. Answers `TooLarge` if
/// they exceed [`MAX_FRAME_BYTES`].
pub fn encode_response(response: &Result<Response, RaftError>) -> Result<Vec<u8>, RaftError> {
    match response {
        Ok(Response::Rpc(frame)) => encode_bytes(RPC, frame),
        response => encode_json(response),
    }
}

/// Reads a frame that [`crate::FrameReader`] handed out. Answers `Malformed`
/// for anything that is not a request.
pub fn decode_request(frame: &[u8]) -> Result<Request, RaftError> {
    match frame.split_first() {
        Some((&RPC, body)) => Ok(Request::Rpc(body.to_vec())),
        Some((&JSON, body)) => decode_json(body),
        _ => Err(RaftError::malformed("not a request")),
    }
}

/// Reads a frame that [`crate::FrameReader`] handed out: the worker's answer,
/// or `Malformed` if it is none.
pub fn decode_response(frame: &[u8]) -> Result<Response, RaftError> {
    match frame.split_first() {
        Some((&RPC, body)) => Ok(Response::Rpc(body.to_vec())),
        Some((&JSON, body)) => decode_json::<Result<Response, RaftError>>(body)?,
        _ => Err(RaftError::malformed("not a response")),
    }
}

fn encode_json(value: &impl Serialize) -> Result<Vec<u8>, RaftError> {
    encode_bytes(JSON, &serde_json::to_vec(value).map_err(RaftError::malformed)?)
}

fn encode_bytes(tag: u8, body: &[u8]) -> Result<Vec<u8>, RaftError> {
    let length = body.len() + 1;
    let prefix = match u32::try_from(length) {
        Ok(prefix) if length <= MAX_FRAME_BYTES => prefix,
        _ => {
            let (bytes, limit) = (length as u64, MAX_FRAME_BYTES as u64);
            return Err(RaftError::TooLarge { bytes, limit });
        }
    };
    let mut frame = Vec::with_capacity(LENGTH_BYTES + length);
    frame.extend_from_slice(&prefix.to_be_bytes());
    frame.push(tag);
    frame.extend_from_slice(body);
    Ok(frame)
}

fn decode_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, RaftError> {
    serde_json::from_slice(body).map_err(RaftError::malformed)
}

#[cfg(test)]
mod tests {
    use cluster::metadata::MetadataCommand;
    use cluster::{LogIndex, NodeId};

    use super::*;
    use crate::local::FrameReader;

    fn frame_of(bytes: Vec<u8>) -> Vec<u8> {
        let mut reader = FrameReader::new();
        reader.extend(&bytes);
        reader.next_frame().expect("small").expect("whole")
    }

    #[test]
    fn requests_survive_the_wire() {
        let command = MetadataCommand::ActivateNode { node: NodeId(2) };
        for request in
            [Request::Propose(command), Request::Status, Request::Rpc(vec![0, 255, b'{'])]
        {
            let bytes = encode_request(&request).expect("small");
            assert_eq!(decode_request(&frame_of(bytes)), Ok(request));
        }
    }

    #[test]
    fn responses_and_errors_survive_the_wire() {
        let confirmed = Ok(Response::Confirmed { index: LogIndex(9) });
        for response in [confirmed, Ok(Response::Rpc(vec![1, 2])), Err(RaftError::NoLeader)] {
            let bytes = encode_response(&response).expect("small");
            assert_eq!(decode_response(&frame_of(bytes)), response);
        }
    }

    #[test]
    fn rubbish_is_malformed() {
        for frame in [&b""[..], b"J", b"J{\"found\":1}", b"X{}"] {
            assert!(matches!(decode_request(frame), Err(RaftError::Malformed { .. })));
        }
    }

    #[test]
    fn an_oversized_frame_is_not_sent() {
        let request = Request::Rpc(vec![0; MAX_FRAME_BYTES]);
        assert!(matches!(encode_request(&request), Err(RaftError::TooLarge { .. })));
    }
}
