//! `hearth user` and `hearth key`: accounts and API keys, where no server needs to run.

use std::io::{BufRead, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use hearth_serve::auth::{Auth, KeyRequest, User};
use hearth_serve::settings::read_duration;
use hearth_serve::{Caller, Identity, Means, Permission, Role};

use crate::flags::{self, SettingFlags};

/// Add, list and remove accounts.
#[derive(clap::Args)]
pub struct UserArgs {
    #[command(subcommand)]
    command: UserAction,
    #[command(flatten)]
    flags: Database,
}

/// Make, list and revoke API keys.
#[derive(clap::Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyAction,
    #[command(flatten)]
    flags: Database,
}

/// Where the accounts are, an option of both.
#[derive(clap::Args)]
struct Database {
    /// A file of settings to read in the place of hearth.toml.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<std::path::PathBuf>,
}

#[derive(Subcommand)]
enum UserAction {
    /// Add an account. The password is asked for, or read from the first line of the input.
    Add {
        /// Its name.
        name: String,
        /// Make it an administrator.
        #[arg(long)]
        admin: bool,
        /// An address of mail.
        #[arg(long)]
        email: Option<String>,
    },
    /// Give an account another password, asked for or read from the input.
    Password {
        /// Its name.
        name: String,
    },
    /// List accounts.
    List,
    /// Remove an account with its keys and sessions.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Subcommand)]
enum KeyAction {
    /// Make a key for an account and print it, this once.
    Create {
        /// Whose it is.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// What the key is called.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it allows; can be repeated [default: inference].
        #[arg(long = "permission", value_name = "PERMISSION", value_parser = permission)]
        permissions: Vec<Permission>,
        /// A model that it allows; can be repeated [default: all].
        #[arg(long = "model", value_name = "MODEL")]
        models: Vec<String>,
        /// How long it is good for, for example 30d [default: for ever].
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires_in: Option<std::time::Duration>,
    },
    /// List keys.
    List,
    /// Revoke a key.
    Revoke {
        /// Its id, as 'hearth key list' shows it.
        id: String,
    },
}

fn permission(text: &str) -> Result<Permission, String> {
    let names: Vec<&str> = Permission::EVERY.iter().map(|own| own.name()).collect();
    Permission::named(text).ok_or_else(|| format!("give one of {}", names.join(", ")))
}

fn lifetime(text: &str) -> Result<std::time::Duration, String> {
    read_duration(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "give a time such as 30d, 12h or 45m".to_owned())
}

pub fn run_user(args: UserArgs) -> Result<()> {
    with_accounts(&args.flags, async |auth| match args.command {
        UserAction::Add { name, admin, email } => {
            let role = if admin { Role::Admin } else { Role::User };
            let user = auth.add_user(&name, &password()?, email, role).await?;
            println!("added {} '{}'", user.role.name(), user.username);
            Ok(())
        }
        UserAction::Password { name } => {
            let user = find(&auth, &name).await?;
            auth.set_password(&user.id, &password()?).await?;
            println!(
                "'{}' has a new password; his sessions are ended",
                user.username
            );
            Ok(())
        }
        UserAction::List => {
            for user in auth.store()?.users().await? {
                println!(
                    "{}  {}  {}",
                    user.username,
                    user.role.name(),
                    user.email.unwrap_or_default()
                );
            }
            Ok(())
        }
        UserAction::Remove { name } => {
            let user = find(&auth, &name).await?;
            auth.store()?.remove_user(&user.id).await?;
            println!("removed '{}'", user.username);
            Ok(())
        }
    })
}

pub fn run_key(args: KeyArgs) -> Result<()> {
    with_accounts(&args.flags, async |auth| match args.command {
        KeyAction::Create {
            user,
            name,
            permissions,
            models,
            expires_in,
        } => {
            let owner = caller(find(&auth, &user).await?);
            let permissions = match permissions.is_empty() {
                true => vec![Permission::Inference],
                false => permissions,
            };
            let models = (!models.is_empty()).then_some(models);
            let request = KeyRequest {
                name,
                permissions,
                models,
                lifetime: expires_in,
            };
            let (key, secret) = auth.create_key(&owner, request).await?;
            eprintln!("made {}; it is shown this once:", key.id);
            println!("{secret}");
            Ok(())
        }
        KeyAction::List => {
            for key in auth.store()?.keys(None).await? {
                let owner = auth.store()?.user(&key.user_id).await?;
                let owner = owner.map_or(key.user_id.clone(), |user| user.username);
                let permissions: Vec<&str> = key.permissions.iter().map(|own| own.name()).collect();
                let state = match (key.revoked_at, key.expires_at) {
                    (Some(_), _) => "revoked".to_owned(),
                    (None, None) => "good".to_owned(),
                    (None, Some(end)) => chrono::DateTime::from_timestamp(end, 0)
                        .map_or_else(String::new, |end| {
                            format!("until {}", end.format("%Y-%m-%d %H:%M UTC"))
                        }),
                };
                println!(
                    "{}  {}  {owner}  {}  {}  {state}",
                    key.id,
                    key.shown,
                    key.name,
                    permissions.join(",")
                );
            }
            Ok(())
        }
        KeyAction::Revoke { id } => {
            match auth.store()?.revoke_key(&id, None).await? {
                true => println!("revoked {id}; servers that run notice within seconds"),
                false => bail!(
                    "there is no key '{id}' that is not revoked already; see 'hearth key list'"
                ),
            }
            Ok(())
        }
    })
}

/// Opens the accounts and does `work` with them.
fn with_accounts(database: &Database, work: impl AsyncFnOnce(Auth) -> Result<()>) -> Result<()> {
    let home = flags::home()?;
    let mut sources = SettingFlags::none().sources()?;
    sources.file = database.config.clone().or(sources.file);
    let mut settings = sources.load()?.settings;
    // What is wrong with the database is an error here, whether a server would ask for credentials or not.
    settings.auth = true;
    let event_loop = tokio::runtime::Runtime::new().context("cannot start the event loop")?;
    event_loop.block_on(async { work(Auth::open(&settings, &home).await?).await })
}

async fn find(auth: &Auth, name: &str) -> Result<User> {
    match auth.store()?.user_named(name).await? {
        Some((user, _)) => Ok(user),
        None => bail!("there is no account '{name}'; see 'hearth user list'"),
    }
}

/// Whoever runs this program acts for the account.
fn caller(user: User) -> Caller {
    let identity = Identity {
        permissions: user.role.permissions().to_vec(),
        user_id: user.id,
        username: user.username,
        role: user.role,
        models: None,
        means: Means::Local,
    };
    Caller::new(Arc::new(identity), IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Asks for a password at the terminal, twice and unseen; otherwise the first line of the input is one.
fn password() -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return line(&mut stdin.lock());
    }
    let ask = |prompt: &str| -> Result<String> {
        eprint!("{prompt}");
        std::io::stderr().flush()?;
        let _hidden = Hidden::begin();
        let text = line(&mut stdin.lock());
        eprintln!();
        text
    };
    let first = ask("password: ")?;
    match ask("again: ")? == first {
        true => Ok(first),
        false => bail!("the two differ; nothing is changed"),
    }
}

fn line(input: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    input
        .read_line(&mut text)
        .context("cannot read the password")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal shows nothing of what is typed until this is dropped.
struct Hidden;

impl Hidden {
    fn begin() -> Self {
        Self::echo("-echo");
        Self
    }

    /// Turns the terminal's echo on or off; one that cannot do it shows what is typed.
    fn echo(setting: &str) {
        let _ = std::process::Command::new("stty").arg(setting).status();
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        Self::echo("echo");
    }
}
