//! Reverse tunnels, as values: what shall be open, what is, which port may be taken, and which
//! addresses a client may be asked to reach.

mod conflict;
mod control;
mod desired;
mod filter;

pub use conflict::{NotAPortSpan, PortConflict, PortRules, PortSpan};
pub use control::{
    Answer, Ask, ClientStatus, Enrolled, Event, Reason, SessionStatus, State, Status, TunnelStatus,
    VisitorRow, desired_path, socket_path,
};
pub use desired::{
    BasicAuth, ClientSpec, Desired, DesiredError, Enrolment, Limits, Origin, Protocol, Route, Target,
    TokenHash, TunnelSpec, VERSION,
};
pub use filter::{Filter, Refused};
