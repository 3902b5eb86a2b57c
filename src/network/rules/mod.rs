//! The rule catalogue: one file a rule, its doc comment is its documentation.

mod prelude;

mod address_in_use;
mod ambiguous_ip;
mod auto_missing;
mod cloud_instance;
mod cloud_network_off;
mod cmdline_configures;
mod contract_broken;
mod dbus_machine_id;
mod default_file_claims;
mod deprecated_gateway;
mod dhcp_blocked;
mod dns_goes_nowhere;
mod dns_only_in_ip;
mod empty_match;
mod exact_name_on_pci;
mod files_changed;
mod first_boot_presets;
mod gateway_off_subnet;
mod guest_gateway_off_subnet;
mod handed_over;
mod host_keys;
mod ifup_may_fail;
mod inert_ip;
mod initrd_dies;
mod inside_the_pool;
mod installer_keys;
mod ipv6_disabled;
mod keeps_foreign_address;
mod kernel_name_taken;
mod lease_and_static;
mod lease_not_renewed;
mod link_beats_ifnames;
mod mac_pinned;
mod manager_masked;
mod masked_file;
mod may_lose;
mod netplan_error;
mod netplan_too_open;
mod networkd_never_starts;
mod no_client_identifier;
mod no_data_source;
mod no_device;
mod no_dhcp_client;
mod no_dhcp_server;
mod no_driver;
mod no_host_keys;
mod no_match;
mod no_metadata;
mod no_netmask;
mod no_profile;
mod no_renderer;
mod nobody_configures;
mod nobody_reads;
mod off_the_bridge;
mod old_leases;
mod order_of_nics;
mod other_transport;
mod overlapping_route;
mod pci_off;
mod persistent_net_rules;
mod read_only_root;
mod redundant_ip;
mod rejected_ip;
mod run_is_empty;
mod same_mac;
mod several_ip;
mod shadowed_file;
mod shared_client_id;
mod shared_hostname;
mod shared_identities;
mod shared_machine_id;
mod shared_secrets;
mod silent_console;
mod static_ip_beside_dhclient;
mod static_ip_vs_dhcp;
mod stays_down;
mod stop_may_fail;
mod stub_without_resolved;
mod tap_elsewhere;
mod too_long;
mod two_clients;
mod two_default_routes;
mod two_managers;
mod two_static_addresses;
mod unexpected_address;
mod unguarded_port;
mod unknown;
mod unknown_parameter;
mod unmodelled_manager;
mod unreserved_address;
mod up_not_renamed;
mod vmm_overrides;
mod waits_for_nothing;
mod wrong_device;
mod wrong_name;

#[cfg(test)]
mod tests;

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
    &link_beats_ifnames::LINK_BEATS_IFNAMES,
    &persistent_net_rules::PERSISTENT_NET_RULES,
    &exact_name_on_pci::EXACT_NAME_ON_PCI,
    &order_of_nics::ORDER_OF_NICS,
    &other_transport::OTHER_TRANSPORT,
    &up_not_renamed::UP_NOT_RENAMED,
    &no_data_source::NO_DATA_SOURCE,
    &cloud_instance::CLOUD_INSTANCE,
    &cloud_network_off::CLOUD_NETWORK_OFF,
    &shadowed_file::SHADOWED_FILE,
    &may_lose::MAY_LOSE,
    &empty_match::EMPTY_MATCH,
    &networkd_never_starts::NETWORKD_NEVER_STARTS,
    &two_managers::TWO_MANAGERS,
    &stub_without_resolved::STUB_WITHOUT_RESOLVED,
    &masked_file::MASKED_FILE,
    &nobody_configures::NOBODY_CONFIGURES,
    &stays_down::STAYS_DOWN,
    &dns_goes_nowhere::DNS_GOES_NOWHERE,
    &run_is_empty::RUN_IS_EMPTY,
    &guest_gateway_off_subnet::GUEST_GATEWAY_OFF_SUBNET,
    &files_changed::FILES_CHANGED,
    &contract_broken::CONTRACT_BROKEN,
    &unexpected_address::UNEXPECTED_ADDRESS,
    &unknown::UNKNOWN,
    &off_the_bridge::OFF_THE_BRIDGE,
    &inside_the_pool::INSIDE_THE_POOL,
    &no_dhcp_server::NO_DHCP_SERVER,
    &unreserved_address::UNRESERVED_ADDRESS,
    &shared_client_id::SHARED_CLIENT_ID,
    &tap_elsewhere::TAP_ELSEWHERE,
    &address_in_use::ADDRESS_IN_USE,
    &dhcp_blocked::DHCP_BLOCKED,
    &overlapping_route::OVERLAPPING_ROUTE,
    &two_clients::TWO_CLIENTS,
    &unguarded_port::UNGUARDED_PORT,
    &shared_machine_id::SHARED_MACHINE_ID,
    &first_boot_presets::FIRST_BOOT_PRESETS,
    &dbus_machine_id::DBUS_MACHINE_ID,
    &same_mac::SAME_MAC,
    &host_keys::HOST_KEYS,
    &old_leases::OLD_LEASES,
    &shared_secrets::SHARED_SECRETS,
    &shared_hostname::SHARED_HOSTNAME,
    &read_only_root::READ_ONLY_ROOT,
    &shared_identities::SHARED_IDENTITIES,
    &no_host_keys::NO_HOST_KEYS,
    &inert_ip::INERT_IP,
    &static_ip_vs_dhcp::STATIC_IP_VS_DHCP,
    &two_static_addresses::TWO_STATIC_ADDRESSES,
    &redundant_ip::REDUNDANT_IP,
    &static_ip_beside_dhclient::STATIC_IP_BESIDE_DHCLIENT,
    &ambiguous_ip::AMBIGUOUS_IP,
    &initrd_dies::INITRD_DIES,
    &rejected_ip::REJECTED_IP,
    &wrong_device::WRONG_DEVICE,
    &no_device::NO_DEVICE,
    &no_netmask::NO_NETMASK,
    &gateway_off_subnet::GATEWAY_OFF_SUBNET,
    &several_ip::SEVERAL_IP,
    &lease_not_renewed::LEASE_NOT_RENEWED,
    &dns_only_in_ip::DNS_ONLY_IN_IP,
    &no_driver::NO_DRIVER,
    &default_file_claims::DEFAULT_FILE_CLAIMS,
    &cmdline_configures::CMDLINE_CONFIGURES,
    &pci_off::PCI_OFF,
    &stop_may_fail::STOP_MAY_FAIL,
    &vmm_overrides::VMM_OVERRIDES,
    &unknown_parameter::UNKNOWN_PARAMETER,
    &too_long::TOO_LONG,
    &ipv6_disabled::IPV6_DISABLED,
    &nobody_reads::NOBODY_READS,
    &manager_masked::MANAGER_MASKED,
    &handed_over::HANDED_OVER,
    &no_metadata::NO_METADATA,
    &silent_console::SILENT_CONSOLE,
    &installer_keys::INSTALLER_KEYS,
    &no_profile::NO_PROFILE,
    &unmodelled_manager::UNMODELLED_MANAGER,
    &netplan_error::NETPLAN_ERROR,
    &netplan_too_open::NETPLAN_TOO_OPEN,
    &deprecated_gateway::DEPRECATED_GATEWAY,
    &mac_pinned::MAC_PINNED,
    &no_match::NO_MATCH,
    &lease_and_static::LEASE_AND_STATIC,
    &no_renderer::NO_RENDERER,
    &no_client_identifier::NO_CLIENT_IDENTIFIER,
    &waits_for_nothing::WAITS_FOR_NOTHING,
    &two_default_routes::TWO_DEFAULT_ROUTES,
    &kernel_name_taken::KERNEL_NAME_TAKEN,
    &keeps_foreign_address::KEEPS_FOREIGN_ADDRESS,
    &auto_missing::AUTO_MISSING,
    &no_dhcp_client::NO_DHCP_CLIENT,
    &ifup_may_fail::IFUP_MAY_FAIL,
];

impl Rule {
    /// A finding at the rule's own weight.
    fn finding(&self, message: impl Into<String>) -> Finding {
        Finding::new(self.id, self.severity, message)
    }

    /// A finding that is only worth knowing.
    fn info(&self, message: impl Into<String>) -> Finding {
        Finding::new(self.id, Severity::Info, message)
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
