//! People: who they are, and by which sessions they are known.

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::UserId;
use pgw_core::redact::Secret;
use serde::Serialize;

use super::{ListQuery, Page, Role, StoreError};

#[async_trait]
pub trait Users: Send + Sync {
    async fn create_user(&self, new: NewUser) -> Result<User, StoreError>;
    /// Refused if there is anybody already.
    async fn create_first_user(&self, new: NewUser) -> Result<User, StoreError>;
    async fn has_users(&self) -> Result<bool, StoreError>;
    async fn users(&self, query: &ListQuery) -> Result<Page<User>, StoreError>;
    async fn user(&self, id: UserId) -> Result<User, StoreError>;
    /// Another password or another role ends all their sessions. The last admin stays one.
    async fn update_user(&self, id: UserId, patch: UserPatch) -> Result<User, StoreError>;
    async fn remove_user(&self, id: UserId, if_revision: Option<i64>) -> Result<(), StoreError>;
    /// With what their password is compared.
    async fn user_by_name(&self, name: &str) -> Result<Option<KnownUser>, StoreError>;

    /// None if the password was changed since it was compared. Nobody has more than a few sessions:
    /// whichever was not seen for longest makes room.
    async fn open_session(&self, user: &KnownUser, hash: &[u8; 32]) -> Result<Option<Session>, StoreError>;
    async fn session(&self, hash: &[u8; 32]) -> Result<Option<Session>, StoreError>;
    /// It is being used.
    async fn touch_session(&self, hash: &[u8; 32]) -> Result<(), StoreError>;
    async fn end_session(&self, hash: &[u8; 32]) -> Result<(), StoreError>;
    /// Those not seen, or opened, for so long.
    async fn forget_sessions(&self, seen: Timestamp, opened: Timestamp) -> Result<(), StoreError>;
}

/// Somebody who logs in with a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub role: Role,
    /// Another one with each change: the ETag.
    pub revision: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub last_login_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewUser {
    pub name: String,
    pub role: Role,
    /// Its hash, as a PHC string.
    pub password: Secret,
}

/// None leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct UserPatch {
    pub name: Option<String>,
    pub role: Option<Role>,
    /// Its hash, as a PHC string.
    pub password: Option<Secret>,
    pub if_revision: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct KnownUser {
    pub user: User,
    /// Its hash, as a PHC string.
    pub password: Secret,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub user: User,
    pub opened_at: Timestamp,
    pub seen_at: Timestamp,
}
