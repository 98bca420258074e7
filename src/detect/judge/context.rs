//! What the tables say of keys, names and peers, by what is known now.

use crate::detect::findings::AccountName;
use crate::detect::fleet::hosts::Hosts;
use crate::detect::fleet::twins::Fleet;
use crate::detect::settings::Settings;
use crate::detect::state::directory::Directory;
use crate::detect::state::names::{Address, Addresses, Names, Symbol};
use crate::detect::state::sessions::{LineOrder, Patterns, SourceKey};
use crate::incident::Role;
use crate::observation::{Peer, short_host};
use crate::time::EventTime;

/// The tables that a finding is made from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub settings: &'a Settings,
    pub names: &'a Names,
    pub addresses: &'a Addresses,
    pub patterns: &'a Patterns,
    pub directory: &'a Directory,
    pub hosts: &'a Hosts,
    pub fleet: &'a Fleet,
}

impl<'a> Context<'a> {
    /// The source that a key belongs to, by what is known now.
    pub fn resolve(&self, key: SourceKey, time: EventTime) -> SourceKey {
        let sid = |domain, name| self.directory.resolve(domain, name, time, self.names);
        let (domains, name) = match key {
            SourceKey::Sid(_)
            | SourceKey::Host(_)
            | SourceKey::Crowd(_)
            | SourceKey::PeerIp(_)
            | SourceKey::PeerHost(_) => return key,
            SourceKey::Account { domain, name } => (vec![domain], name),
            SourceKey::Bare { host, name } => {
                let mut domains = match self.role(host) {
                    Role::DomainController => {
                        self.directory.domains_of_controller(host, self.names)
                    }
                    Role::Unknown | Role::Workstation | Role::Server => Vec::new(),
                };
                if domains.is_empty() {
                    domains.extend(self.names.find(short_host(self.names.text(host))));
                }
                (domains, name)
            }
        };
        match (domains.iter().find_map(|domain| sid(*domain, name)), domains.last()) {
            (Some(sid), _) => SourceKey::Sid(sid),
            (None, Some(domain)) => SourceKey::Account { domain: *domain, name },
            (None, None) => key,
        }
    }

    pub fn order(&self) -> LineOrder<'a> {
        LineOrder { names: self.names, addresses: self.addresses }
    }

    /// Domain and name of a source, where it has them.
    pub fn label(&self, source: SourceKey) -> (Option<&'a str>, Option<&'a str>) {
        let (domain, name) = match source {
            SourceKey::Sid(sid) => {
                self.directory.name_of(sid, self.names).unwrap_or((Symbol::NONE, Symbol::NONE))
            }
            SourceKey::Account { domain, name } => (domain, name),
            SourceKey::Bare { name, .. } => (Symbol::NONE, name),
            SourceKey::Host(_)
            | SourceKey::Crowd(_)
            | SourceKey::PeerIp(_)
            | SourceKey::PeerHost(_) => (Symbol::NONE, Symbol::NONE),
        };
        (self.names.text_opt(domain), self.names.text_opt(name))
    }

    /// Domain and name as the observations of a key carried them, in the form
    /// of the source's label where they say the same.
    pub fn observed(
        &self,
        key: SourceKey,
        source: SourceKey,
    ) -> (Option<&'a str>, Option<&'a str>) {
        let label = self.label(source);
        let (domain, name) = self.label(key);
        let same = |one: Option<&str>, other: Option<&str>| match (one, other) {
            (Some(one), Some(other)) => one.to_lowercase() == other.to_lowercase(),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let dns = |domain: Option<&str>| domain.is_some_and(|domain| domain.contains('.'));
        let alias = domain.is_none() || same(domain, label.0) || dns(domain) || dns(label.0);
        if same(name, label.1) && alias { label } else { (domain, name) }
    }

    /// `sid:…`, `name:DOMAIN\user`, `host:NAME`, `crowd:NAME` or `peer:` with
    /// an address or a name. Names in upper case, as
    /// their case differs from event to event.
    pub fn key_text(&self, source: SourceKey) -> String {
        let upper = |symbol| self.names.text(symbol).to_uppercase();
        match source {
            SourceKey::Sid(sid) => format!("sid:{}", sid.sid()),
            SourceKey::Account { domain, name } => {
                format!("name:{}\\{}", upper(domain), upper(name))
            }
            SourceKey::Bare { host, name } => format!("name:{}\\{}", upper(host), upper(name)),
            SourceKey::Host(host) => format!("host:{}", upper(host)),
            SourceKey::Crowd(host) => format!("crowd:{}", upper(host)),
            SourceKey::PeerIp(ip) => {
                format!("peer:{}", self.peer_text(Symbol::NONE, ip).unwrap_or_default())
            }
            SourceKey::PeerHost(host) => format!("peer:{}", upper(host)),
        }
    }

    /// The account of a source as a sentence names it.
    pub fn account_name(&self, source: SourceKey) -> AccountName {
        match (self.label(source), source) {
            ((domain, Some(name)), _) => AccountName::Named(account_text(domain, name)),
            (_, SourceKey::Sid(sid)) => AccountName::Named(sid.sid().to_string()),
            (_, SourceKey::Host(host) | SourceKey::Crowd(host)) => {
                AccountName::Named(self.names.text(host).to_owned())
            }
            (_, SourceKey::PeerIp(_) | SourceKey::PeerHost(_)) => AccountName::Unnamed,
            (_, SourceKey::Account { .. } | SourceKey::Bare { .. }) => AccountName::Unnamed,
        }
    }

    /// Name and address of a peer; `None` when neither is known.
    pub fn peer_of(&self, host: Symbol, ip: Address) -> Option<Peer> {
        let (host, ip) = (self.names.text_opt(host), self.addresses.get(ip));
        let is_any = host.is_some() || ip.is_some();
        is_any.then(|| Peer { host: host.map(Into::into), ip })
    }

    /// `HOST (ADDRESS)`, or the one that is known.
    pub fn peer_text(&self, host: Symbol, ip: Address) -> Option<String> {
        match (self.names.text_opt(host), self.addresses.get(ip)) {
            (Some(host), Some(ip)) => Some(format!("{host} ({ip})")),
            (Some(host), None) => Some(host.to_owned()),
            (None, Some(ip)) => Some(ip.to_string()),
            (None, None) => None,
        }
    }

    pub fn role(&self, host: Symbol) -> Role {
        match self.hosts.get(host) {
            Some(facts) if facts.domain_controller => Role::DomainController,
            _ => self.fleet.host(host).map_or(Role::Unknown, |at| self.fleet.hosts[at].role()),
        }
    }

    /// The host at the other end, by name, else by address. Of several hosts with
    /// that name, the one in the domain of `beside`, the host that logged it.
    pub fn peer(
        &self,
        host: Symbol,
        ip: Address,
        time: EventTime,
        beside: Option<usize>,
    ) -> Option<usize> {
        let by_name = if host.is_none() { None } else { self.fleet.find(host, beside, self.names) };
        by_name.or_else(|| {
            let host = self.hosts.host_at(self.addresses.get(ip)?, time, self.names)?;
            self.fleet.find(host, beside, self.names)
        })
    }

    /// The name of a peer's host, as written where it is not known.
    pub fn peer_name(
        &self,
        host: Symbol,
        ip: Address,
        time: EventTime,
        beside: Option<usize>,
    ) -> Symbol {
        self.peer(host, ip, time, beside).map_or(host, |at| self.fleet.hosts[at].name)
    }
}

/// `DOMAIN\name`, or the name alone.
pub fn account_text(domain: Option<&str>, name: &str) -> String {
    match domain {
        Some(domain) => format!("{domain}\\{name}"),
        None => name.to_owned(),
    }
}
