//! Events as Winlogbeat ships them, made while a test runs, so that their times can be near now.

use jiff::Timestamp;
use serde_json::{Value, json};

const SECURITY: &str = "Microsoft-Windows-Security-Auditing";

/// Where and when an event was written.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub computer: &'a str,
    pub record_id: u64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A logon that failed because of a wrong password.
pub fn failure(origin: Origin<'_>, account: &str, peer: &str) -> Vec<u8> {
    let data = json!({
        "TargetUserName": account, "TargetDomainName": "CORP", "Status": "0xc000006d",
        "SubStatus": "0xc000006a", "LogonType": "3", "IpAddress": peer,
    });
    event(origin, ("Security", SECURITY, 4625), &data)
}

/// A host logs the logon of its own Administrator, and thereby its machine SID.
pub fn own_account(origin: Origin<'_>, machine_sid: &str) -> Vec<u8> {
    let netbios = origin.computer.split('.').next().unwrap_or_default().to_uppercase();
    let data = json!({
        "TargetUserSid": format!("{machine_sid}-500"), "TargetUserName": "Administrator",
        "TargetDomainName": netbios, "LogonType": "2",
    });
    event(origin, ("Security", SECURITY, 4624), &data)
}

/// A host refused a machine id.
pub fn mismatch(origin: Origin<'_>) -> Vec<u8> {
    event(origin, ("System", "LsaSrv", 6167), &json!({}))
}

/// A connection that the firewall let through: no rule wants it.
pub fn unwanted(origin: Origin<'_>) -> Vec<u8> {
    let data = json!({
        "Application": "\\device\\harddiskvolume3\\windows\\system32\\svchost.exe",
        "SourceAddress": "10.0.0.7", "DestPort": "443", "Protocol": "6",
    });
    event(origin, ("Security", SECURITY, 5156), &data)
}

fn event(origin: Origin<'_>, (channel, provider, id): (&str, &str, u32), data: &Value) -> Vec<u8> {
    let at = Timestamp::from_millisecond(origin.at_ms).expect("a time of this century");
    let event = json!({
        "@timestamp": format!("{at:.3}"),
        "winlog": {
            "channel": channel, "computer_name": origin.computer, "event_id": id.to_string(),
            "record_id": origin.record_id, "provider_name": provider, "event_data": data,
        },
    });
    event.to_string().into_bytes()
}
