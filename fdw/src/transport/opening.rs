//! Making a connection: addresses in turn, start-up message, authentication.

use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use super::stream::Stream;
use super::wait::{Readiness, WaitSet};
use super::{Address, Connection, Interrupts, Stop};
use crate::error::RemoteError;

/// Who logs in where.
#[derive(Clone)]
pub struct Parameters {
    /// Host name, address or socket directory.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Secret, if any.
    pub password: Option<String>,
    /// Refuse servers that let us in without asking for the password.
    pub password_must_be_used: bool,
    /// `database`, `client_encoding` and settings of the session.
    pub startup: Vec<(String, String)>,
    /// Bound of each address's attempt.
    pub timeout: Duration,
}

/// Why no connection came about.
pub enum OpeningError {
    /// An interrupt is pending; call [`Opening::advance`] again afterwards.
    Interrupted,
    /// It failed.
    Failed {
        /// Reason, without secrets.
        reason: String,
        /// The server's answer, if it gave one.
        error: Option<Box<RemoteError>>,
    },
    /// We were let in without our password having been asked for.
    PasswordNotUsed,
}

/// A connection being made; [`Opening::advance`] continues where an interrupt
/// stopped it.
pub struct Opening {
    parameters: Parameters,
    addresses: Vec<Address>,
    attempt: Option<Attempt>,
    last_failure: Option<String>,
}

struct Attempt {
    wait: WaitSet,
    stream: Stream,
    address: Address,
    deadline: Instant,
    started: bool,
    output: BytesMut,
    input: BytesMut,
    scram: Option<ScramSha256>,
    asked_for_password: bool,
    key: (i32, i32),
}

impl Opening {
    /// Resolves the host name.
    pub fn start(parameters: Parameters) -> std::io::Result<Opening> {
        let mut addresses = Address::resolve(&parameters.host, parameters.port)?;
        addresses.reverse();
        Ok(Opening { parameters, addresses, attempt: None, last_failure: None })
    }

    /// Goes on until connected, failed or interrupted.
    pub fn advance(&mut self, interrupts: Interrupts) -> Result<Connection, OpeningError> {
        loop {
            if let Some(connection) = self.poll()? {
                return Ok(connection);
            }
            let Some(attempt) = &mut self.attempt else { continue };
            match attempt.wait.wait(attempt.readiness(), Some(attempt.deadline), interrupts) {
                Err(Stop::Interrupted) => return Err(OpeningError::Interrupted),
                Err(stop) => self.fail(stop),
                Ok(()) => {}
            }
        }
    }

    /// Goes on as far as that is possible without waiting.
    pub fn poll(&mut self) -> Result<Option<Connection>, OpeningError> {
        loop {
            let Some(mut attempt) = self.attempt.take().or_else(|| self.next_attempt()) else {
                let reason = self.last_failure.take().unwrap_or_else(|| "no address".into());
                return Err(OpeningError::Failed { reason, error: None });
            };
            match attempt.step(&self.parameters) {
                Ok(true) => {
                    if self.parameters.password_must_be_used && !attempt.asked_for_password {
                        return Err(OpeningError::PasswordNotUsed);
                    }
                    let Attempt { wait, stream, address, key, input, .. } = attempt;
                    let connection = Connection::established(wait, stream, address, key, input);
                    return Ok(Some(connection));
                }
                Ok(false) if Instant::now() < attempt.deadline => {
                    self.attempt = Some(attempt);
                    return Ok(None);
                }
                Ok(false) => self.fail(Stop::TimedOut),
                Err(Failure::Stop(stop)) => self.fail(stop),
                Err(Failure::Server(error)) => {
                    let reason = String::from_utf8_lossy(&error.message).into_owned();
                    return Err(OpeningError::Failed { reason, error: Some(error) });
                }
                Err(Failure::Other(reason)) => {
                    return Err(OpeningError::Failed { reason, error: None });
                }
            }
        }
    }

    /// What has to happen before [`Opening::poll`] is called again, and until
    /// when it may take.
    pub fn waits_for(&self) -> Option<(RawFd, Readiness, Instant)> {
        let attempt = self.attempt.as_ref()?;
        Some((attempt.stream.raw_fd(), attempt.readiness(), attempt.deadline))
    }

    /// Gives the present address up.
    fn fail(&mut self, stop: Stop) {
        self.attempt = None;
        self.last_failure = Some(match stop {
            Stop::Lost(reason) => reason,
            Stop::TimedOut | Stop::Interrupted => "timeout expired".into(),
        });
    }

    fn next_attempt(&mut self) -> Option<Attempt> {
        while let Some(address) = self.addresses.pop() {
            match Stream::connect(&address) {
                Ok(stream) => {
                    return Some(Attempt {
                        wait: WaitSet::new(stream.raw_fd(), Readiness::Write),
                        stream,
                        address,
                        deadline: Instant::now() + self.parameters.timeout,
                        started: false,
                        output: BytesMut::new(),
                        input: BytesMut::new(),
                        scram: None,
                        asked_for_password: false,
                        key: (0, 0),
                    });
                }
                Err(e) => self.last_failure = Some(e.to_string()),
            }
        }
        None
    }
}

enum Failure {
    Stop(Stop),
    Server(Box<RemoteError>),
    Other(String),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Failure {
        Failure::Stop(stop)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Stop(Stop::Lost(error.to_string()))
    }
}

impl Attempt {
    /// True once connected; false if it has to wait.
    fn step(&mut self, parameters: &Parameters) -> Result<bool, Failure> {
        if !self.started {
            if !self.stream.is_writable() {
                return Ok(false);
            }
            self.stream.connected()?;
            let pairs = parameters.startup.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            let user = std::iter::once(("user", parameters.user.as_str()));
            frontend::startup_message(user.chain(pairs), &mut self.output)?;
            self.started = true;
        }
        loop {
            while let Some(message) = Message::parse(&mut self.input)? {
                if self.accept(message, parameters)? {
                    return Ok(true);
                }
            }
            self.flush()?;
            if !self.receive()? {
                return Ok(false);
            }
        }
    }

    fn readiness(&self) -> Readiness {
        match (self.started, self.output.is_empty()) {
            (false, _) => Readiness::Write,
            (true, true) => Readiness::Read,
            (true, false) => Readiness::ReadOrWrite,
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => self.output.advance(n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// True if something came.
    fn receive(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0u8; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Stop::Lost("the server closed the connection".into()).into()),
            Ok(n) => {
                self.input.extend_from_slice(&buffer[..n]);
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(true),
            Err(e) => Err(e.into()),
        }
    }

    /// True once the server is ready for queries.
    fn accept(&mut self, message: Message, parameters: &Parameters) -> Result<bool, Failure> {
        let password = || {
            parameters
                .password
                .as_deref()
                .ok_or_else(|| Failure::Other("the server asks for a password, none is set".into()))
        };
        match message {
            Message::AuthenticationOk => {}
            Message::AuthenticationCleartextPassword => {
                frontend::password_message(password()?.as_bytes(), &mut self.output)?;
                self.asked_for_password = true;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash =
                    md5_hash(parameters.user.as_bytes(), password()?.as_bytes(), body.salt());
                frontend::password_message(hash.as_bytes(), &mut self.output)?;
                self.asked_for_password = true;
            }
            Message::AuthenticationSasl(body) => {
                let mut offered = body.mechanisms();
                let mut known = false;
                while let Some(mechanism) = offered.next()? {
                    known |= mechanism == SCRAM_SHA_256;
                }
                if !known {
                    return Err(Failure::Other("the server offers no known SASL mechanism".into()));
                }
                let scram = ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
                frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut self.output)?;
                self.scram = Some(scram);
                self.asked_for_password = true;
            }
            Message::AuthenticationSaslContinue(body) => {
                let scram = self.scram.as_mut().ok_or_else(unexpected)?;
                scram.update(body.data())?;
                frontend::sasl_response(scram.message(), &mut self.output)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let scram = self.scram.as_mut().ok_or_else(unexpected)?;
                scram.finish(body.data()).map_err(|_| {
                    Failure::Other("the server could not prove that it knows the password".into())
                })?;
            }
            Message::BackendKeyData(body) => self.key = (body.process_id(), body.secret_key()),
            Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
            Message::ErrorResponse(body) => {
                return Err(Failure::Server(Box::new(RemoteError::read(body.fields())?)));
            }
            Message::ReadyForQuery(_) => return Ok(true),
            _ => return Err(unexpected()),
        }
        Ok(false)
    }
}

fn unexpected() -> Failure {
    Failure::Other("the server asks for an authentication method that is not supported".into())
}
