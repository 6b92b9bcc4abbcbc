//! A file for each thing that is done, rather than looked up in a list.

pub(crate) mod check;
pub(crate) mod document;
pub(crate) mod drill;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod journal;
pub(crate) mod login;
pub(crate) mod manual;
pub(crate) mod program;
pub(crate) mod status;
pub(crate) mod top;
