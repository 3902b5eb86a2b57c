//! The rule catalogue: one file a rule, its doc comment is its documentation.

mod prelude;

mod address_in_use;
mod ambiguous_ip;
mod contract_broken;
mod dbus_machine_id;
mod files_changed;
mod gateway_off_subnet;
mod host_keys;
mod inert_ip;
mod inside_the_pool;
mod netplan_error;
mod netplan_too_open;
mod networkd_never_starts;
mod no_dhcp_server;
mod no_driver;
mod no_match;
mod no_renderer;
mod nobody_configures;
mod off_the_bridge;
mod redundant_ip;
mod rejected_ip;
mod shadowed_file;
mod shared_machine_id;
mod static_ip_vs_dhcp;
mod two_managers;
mod two_static_addresses;
mod unexpected_address;
mod unknown;
mod unreserved_address;
mod wrong_device;
mod wrong_name;

use super::model::Model;
use crate::findings::{Finding, RuleDoc, Severity};

/// A statement over the model that says what is wrong.
pub struct Rule {
    /// Stable id, never reused: `NET-K002`.
    pub id: &'static str,
    /// The id in words.
    pub slug: &'static str,
    /// The most its findings weigh; one finding may weigh less where the outcome is harmless.
    pub severity: Severity,
    /// What it finds, why that is bad, how to fix it. Markdown; the first line is the title.
    pub text: &'static str,
    /// Adds what it finds.
    pub check: fn(&Model<'_>, &mut Vec<Finding>),
}

/// Every rule, by id.
pub const RULES: &[&Rule] = &[
    &wrong_name::WRONG_NAME,
    &shadowed_file::SHADOWED_FILE,
    &networkd_never_starts::NETWORKD_NEVER_STARTS,
    &two_managers::TWO_MANAGERS,
    &nobody_configures::NOBODY_CONFIGURES,
    &files_changed::FILES_CHANGED,
    &contract_broken::CONTRACT_BROKEN,
    &unexpected_address::UNEXPECTED_ADDRESS,
    &unknown::UNKNOWN,
    &off_the_bridge::OFF_THE_BRIDGE,
    &inside_the_pool::INSIDE_THE_POOL,
    &no_dhcp_server::NO_DHCP_SERVER,
    &unreserved_address::UNRESERVED_ADDRESS,
    &address_in_use::ADDRESS_IN_USE,
    &shared_machine_id::SHARED_MACHINE_ID,
    &dbus_machine_id::DBUS_MACHINE_ID,
    &host_keys::HOST_KEYS,
    &inert_ip::INERT_IP,
    &static_ip_vs_dhcp::STATIC_IP_VS_DHCP,
    &two_static_addresses::TWO_STATIC_ADDRESSES,
    &redundant_ip::REDUNDANT_IP,
    &ambiguous_ip::AMBIGUOUS_IP,
    &rejected_ip::REJECTED_IP,
    &wrong_device::WRONG_DEVICE,
    &gateway_off_subnet::GATEWAY_OFF_SUBNET,
    &no_driver::NO_DRIVER,
    &netplan_error::NETPLAN_ERROR,
    &netplan_too_open::NETPLAN_TOO_OPEN,
    &no_match::NO_MATCH,
    &no_renderer::NO_RENDERER,
];

impl Rule {
    /// A finding at the rule's own weight.
    fn finding(&self, message: impl Into<String>) -> Finding {
        Finding::new(self.id, self.severity, message)
    }

    /// A finding that refuses nothing.
    fn warning(&self, message: impl Into<String>) -> Finding {
        Finding::new(self.id, Severity::Warning, message)
    }
}

/// The documentation of every rule.
pub fn rules() -> Vec<RuleDoc> {
    let doc = |rule: &&Rule| {
        let text = rule.text.trim();
        let (title, text) = text.split_once("\n\n").unwrap_or((text, ""));
        RuleDoc { id: rule.id, slug: rule.slug, severity: rule.severity, title: title.trim(), text: text.trim() }
    };
    RULES.iter().map(doc).collect()
}
