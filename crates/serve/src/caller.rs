//! Who asks: identity, role, permissions, and the client that limits are counted for.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// What a caller may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Run models and see which there are.
    Inference,
    /// Load, unload, scale, convert and fetch models.
    ModelManagement,
    /// Read measurements and settings.
    Monitoring,
    /// Anything.
    Admin,
    /// Anything, in the word of the administrator's own account.
    All,
}

impl Permission {
    /// All of them.
    pub const EVERY: [Self; 5] = [
        Self::Inference,
        Self::ModelManagement,
        Self::Monitoring,
        Self::Admin,
        Self::All,
    ];

    /// Its name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::ModelManagement => "model_management",
            Self::Monitoring => "monitoring",
            Self::Admin => "admin",
            Self::All => "*",
        }
    }

    /// The permission called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::EVERY
            .into_iter()
            .find(|permission| permission.name() == name)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What kind of account a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May do anything.
    Admin,
    /// May run models, and read measurements.
    User,
}

impl Role {
    /// Its name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }

    /// The role called `name`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Admin, Self::User]
            .into_iter()
            .find(|role| role.name() == name)
    }

    /// What an account of this role may do.
    pub fn permissions(self) -> &'static [Permission] {
        match self {
            Self::Admin => &[Permission::All],
            Self::User => &[Permission::Inference, Permission::Monitoring],
        }
    }
}

/// How a caller showed who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// Not at all, and nobody asked: authentication is off.
    Local,
    /// Not at all, on a route that is open.
    Anonymous,
    /// By a session's token.
    Token {
        /// The session that it belongs to.
        session: String,
        /// Unix time in seconds at which it ends.
        expires: i64,
    },
    /// By an API key.
    Key {
        /// The key's id.
        id: String,
        /// Unix time in seconds at which it ends; `None` for never.
        expires: Option<i64>,
    },
}

/// An identity, shared by the requests that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's id; `local` for the built-in administrator.
    pub user_id: String,
    /// The user's name.
    pub username: String,
    /// The user's role.
    pub role: Role,
    /// What this credential may do; never more than the role.
    pub permissions: Vec<Permission>,
    /// The models that this credential may use; `None` for all.
    pub models: Option<Vec<String>>,
    /// How the caller showed it.
    pub means: Means,
}

impl Identity {
    /// The built-in administrator, who everybody is while authentication is off.
    pub fn local() -> Self {
        Self {
            user_id: "local".to_owned(),
            username: "local".to_owned(),
            role: Role::Admin,
            permissions: vec![Permission::All],
            models: None,
            means: Means::Local,
        }
    }

    /// Somebody on an open route.
    pub fn anonymous() -> Self {
        Self {
            user_id: "anonymous".to_owned(),
            username: "anonymous".to_owned(),
            role: Role::User,
            permissions: Vec::new(),
            models: None,
            means: Means::Anonymous,
        }
    }

    /// Whether this identity holds `permission`.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions
            .iter()
            .any(|held| matches!(held, Permission::All | Permission::Admin) || *held == permission)
    }
}

/// The client that limits are counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClientId {
    /// An API key.
    Key(String),
    /// A user, whatever token he shows.
    User(String),
    /// An address: of IPv6 the network of 64 bits, which is one household's.
    Address(IpAddr),
}

impl ClientId {
    /// The client at `address`.
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => IpAddr::V4(address),
                None => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
            },
        })
    }
}

/// Who asks, and from where.
#[derive(Debug, Clone)]
pub struct Caller {
    identity: Arc<Identity>,
    address: IpAddr,
}

impl Caller {
    /// `identity`, asking from `address`.
    pub fn new(identity: Arc<Identity>, address: IpAddr) -> Self {
        Self { identity, address }
    }

    /// The identity.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The user's id; `local` for the built-in administrator.
    pub fn user_id(&self) -> &str {
        &self.identity.user_id
    }

    /// The user's name.
    pub fn username(&self) -> &str {
        &self.identity.username
    }

    /// The user's role.
    pub fn role(&self) -> Role {
        self.identity.role
    }

    /// How the caller showed who he is.
    pub fn means(&self) -> &Means {
        &self.identity.means
    }

    /// The peer's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether the caller holds `permission`.
    pub fn may(&self, permission: Permission) -> bool {
        self.identity.may(permission)
    }

    /// Refuses a model that the caller's credential does not name.
    ///
    /// # Errors
    /// [`Denied::Model`].
    pub fn check_model(&self, model: &str) -> Result<(), Denied> {
        match &self.identity.models {
            Some(models) if !models.iter().any(|allowed| allowed == model) => {
                Err(Denied::Model(model.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The client that limits are counted for.
    pub fn client(&self) -> ClientId {
        match &self.identity.means {
            Means::Key { id, .. } => ClientId::Key(id.clone()),
            Means::Token { .. } => ClientId::User(self.identity.user_id.clone()),
            Means::Local | Means::Anonymous => ClientId::of_address(self.address),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Self>().cloned();
        // A route that no guard stands before has nobody's permissions.
        Ok(caller.unwrap_or_else(|| Self {
            identity: Arc::new(Identity::anonymous()),
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }))
    }
}

/// Why somebody known may not do what he asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The credential lacks a permission.
    #[error("this takes the permission '{0}', which the credential does not have")]
    Permission(Permission),
    /// The credential names models, and this one is not among them.
    #[error("the credential does not allow the model '{0}'")]
    Model(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(permissions: &[Permission], models: Option<&[&str]>) -> Caller {
        let identity = Identity {
            permissions: permissions.to_vec(),
            models: models.map(|models| models.iter().map(|&model| model.to_owned()).collect()),
            ..Identity::anonymous()
        };
        Caller::new(Arc::new(identity), IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    #[test]
    fn admin_holds_every_permission_and_others_their_own() {
        for all in [Permission::All, Permission::Admin] {
            let caller = caller(&[all], None);
            assert!(
                Permission::EVERY
                    .into_iter()
                    .all(|permission| caller.may(permission))
            );
        }
        let caller = caller(&[Permission::Inference], None);
        assert!(caller.may(Permission::Inference));
        assert!(!caller.may(Permission::ModelManagement) && !caller.may(Permission::All));
    }

    #[test]
    fn a_list_of_models_is_a_limit() {
        assert_eq!(caller(&[], None).check_model("any"), Ok(()));
        let limited = caller(&[], Some(&["ember"]));
        assert_eq!(limited.check_model("ember"), Ok(()));
        assert_eq!(
            limited.check_model("other"),
            Err(Denied::Model("other".into()))
        );
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let client = |text: &str| ClientId::of_address(text.parse().expect("an address"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
    }

    #[test]
    fn names_are_read_back() {
        for permission in Permission::EVERY {
            assert_eq!(Permission::named(permission.name()), Some(permission));
        }
        assert_eq!(Permission::named("levitation"), None);
        assert_eq!(Role::named("admin"), Some(Role::Admin));
    }
}
