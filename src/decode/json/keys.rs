//! Keys that identify a shape or hold a system field.

/// Keys that identify a shape or hold a system field. Keys that differ only in case are listed
/// separately, because shapes differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Read in no shape, and never data.
    Ignored,
    AccountName,
    AccountType,
    AtTimestamp,
    Channel,
    ChannelLower,
    Computer,
    ComputerLower,
    ComputerName,
    Data,
    DebugData,
    Domain,
    Envelope,
    EventData,
    EventDataSnake,
    EventId,
    EventIdSnake,
    EventLevel,
    EventObject,
    EventRecordId,
    EventRecordIdLower,
    EventSourceName,
    EventTime,
    Hostname,
    Level,
    LevelLower,
    LevelValue,
    Log,
    LogName,
    MessageCapital,
    MessageLower,
    ProcessingErrorData,
    Provider,
    ProviderAttributes,
    ProviderName,
    ProviderNameSnake,
    Raw,
    RawEventData,
    RecordIdSnake,
    RecordNumber,
    RecordNumberSnake,
    Records,
    RenderingInfo,
    RenderingInfoAttributes,
    Result,
    Security,
    SecurityAttributes,
    SeverityValue,
    Source,
    SourceName,
    SourceNameSnake,
    StringInserts,
    StringInsertsSnake,
    System,
    SystemUserId,
    TimeCreated,
    TimeCreatedAttributes,
    TimeCreatedSnake,
    TimeGenerated,
    Timestamp,
    User,
    UserData,
    UserDataSnake,
    UserId,
    UserIdSnake,
    Version,
    VersionLower,
    Winlog,
}

const KEYS: usize = Key::Winlog as usize + 1;

/// The keys of a flat object that are not data.
const FLAT_KEYS: [Key; 28] = [
    Key::Ignored,
    Key::AtTimestamp,
    Key::Channel,
    Key::Computer,
    Key::EventData,
    Key::EventId,
    Key::EventLevel,
    Key::EventRecordId,
    Key::EventRecordIdLower,
    Key::EventSourceName,
    Key::EventTime,
    Key::Hostname,
    Key::Level,
    Key::MessageCapital,
    Key::MessageLower,
    Key::Provider,
    Key::ProviderName,
    Key::RawEventData,
    Key::RecordNumber,
    Key::SeverityValue,
    Key::SourceName,
    Key::StringInserts,
    Key::SystemUserId,
    Key::TimeCreated,
    Key::TimeGenerated,
    Key::UserData,
    Key::UserId,
    Key::Version,
];

impl Key {
    /// Whether the key is not data in a flat object.
    pub(super) fn is_flat(self) -> bool {
        const FLAT: [bool; KEYS] = {
            let mut flat = [false; KEYS];
            let mut index = 0;
            while index < FLAT_KEYS.len() {
                flat[FLAT_KEYS[index] as usize] = true;
                index += 1;
            }
            flat
        };
        FLAT[self as usize]
    }
}

/// The known key of this name.
pub(super) fn key(name: &str) -> Option<Key> {
    // One table of byte strings: compiled to a tree of length and bytes, not compared one by one.
    Some(match name.as_bytes() {
        b"AccountName" => Key::AccountName,
        b"AccountType" => Key::AccountType,
        b"@timestamp" => Key::AtTimestamp,
        b"Channel" => Key::Channel,
        b"channel" => Key::ChannelLower,
        b"Computer" => Key::Computer,
        b"computer" => Key::ComputerLower,
        b"computer_name" => Key::ComputerName,
        b"Data" | b"data" => Key::Data,
        b"DebugData" => Key::DebugData,
        b"Domain" => Key::Domain,
        b"event" => Key::Envelope,
        b"EventData" => Key::EventData,
        b"event_data" => Key::EventDataSnake,
        b"EventID" => Key::EventId,
        b"event_id" => Key::EventIdSnake,
        b"EventLevel" => Key::EventLevel,
        b"Event" => Key::EventObject,
        b"EventRecordID" => Key::EventRecordId,
        b"EventRecordId" => Key::EventRecordIdLower,
        b"EventSourceName" => Key::EventSourceName,
        b"EventTime" => Key::EventTime,
        b"Hostname" => Key::Hostname,
        b"Level" => Key::Level,
        b"level" => Key::LevelLower,
        b"level_value" => Key::LevelValue,
        b"log" => Key::Log,
        b"log_name" => Key::LogName,
        b"Message" => Key::MessageCapital,
        b"message" => Key::MessageLower,
        b"ProcessingErrorData" => Key::ProcessingErrorData,
        b"Provider" => Key::Provider,
        b"Provider_attributes" => Key::ProviderAttributes,
        b"ProviderName" => Key::ProviderName,
        b"provider_name" => Key::ProviderNameSnake,
        b"_raw" => Key::Raw,
        b"RawEventData" => Key::RawEventData,
        b"record_id" => Key::RecordIdSnake,
        b"RecordNumber" => Key::RecordNumber,
        b"record_number" => Key::RecordNumberSnake,
        b"records" => Key::Records,
        b"RenderingInfo" => Key::RenderingInfo,
        b"RenderingInfo_attributes" => Key::RenderingInfoAttributes,
        b"result" => Key::Result,
        b"Security" => Key::Security,
        b"Security_attributes" => Key::SecurityAttributes,
        b"SeverityValue" => Key::SeverityValue,
        b"_source" => Key::Source,
        b"SourceName" => Key::SourceName,
        b"source_name" => Key::SourceNameSnake,
        b"StringInserts" => Key::StringInserts,
        b"string_inserts" => Key::StringInsertsSnake,
        b"System" => Key::System,
        b"SystemUserId" => Key::SystemUserId,
        b"TimeCreated" => Key::TimeCreated,
        b"TimeCreated_attributes" => Key::TimeCreatedAttributes,
        b"time_created" => Key::TimeCreatedSnake,
        b"TimeGenerated" => Key::TimeGenerated,
        b"timestamp" => Key::Timestamp,
        b"user" => Key::User,
        b"UserData" => Key::UserData,
        b"user_data" => Key::UserDataSnake,
        b"UserID" => Key::UserId,
        b"user_id" => Key::UserIdSnake,
        b"Version" => Key::Version,
        b"version" => Key::VersionLower,
        b"winlog" => Key::Winlog,
        // NXLog, and collectors that relay its lines.
        b"ActivityID"
        | b"Category"
        | b"EventReceivedTime"
        | b"EventType"
        | b"EventTypeOrignal"
        | b"ExecutionProcessID"
        | b"ExecutionThreadID"
        | b"Keywords"
        | b"OpcodeValue"
        | b"Opcode"
        | b"OpenWEC"
        | b"ProcessID"
        | b"ProviderGuid"
        | b"RelatedActivityID"
        | b"Severity"
        | b"SourceModuleName"
        | b"SourceModuleType"
        | b"Task"
        | b"ThreadID"
        | b"host"
        | b"port"
        | b"tags" => Key::Ignored,
        // Fluent Bit, Sentinel.
        b"Qualifiers"
        | b"TimeWritten"
        | b"Activity"
        | b"EventLevelName"
        | b"EventOriginId"
        | b"MG"
        | b"ManagementGroupName"
        | b"SourceComputerId"
        | b"SourceSystem"
        | b"TenantId"
        | b"TimeCollected" => Key::Ignored,
        _ => return None,
    })
}

/// The values of an object's known keys; of a repeated key the last one counts.
#[derive(Debug)]
pub(super) struct Keys {
    /// Indices of nodes; 0 is the root, which is no object's value, and stands for none.
    pub(super) nodes: [u32; KEYS],
    /// Whether a key starts with `winlog.`.
    pub(super) dotted: bool,
    pub(super) others: Others,
}

/// The values whose keys may be names of data in a flat object.
#[derive(Debug)]
pub(super) struct Others {
    nodes: [u32; OTHERS_MAX],
    /// Their number, including those that `nodes` has no room for.
    count: usize,
}

/// More than any real event has. The values of an object with more keys are searched again.
const OTHERS_MAX: usize = 96;

impl Others {
    pub(super) fn push(&mut self, value: u32) {
        if let Some(node) = self.nodes.get_mut(self.count) {
            *node = value;
        }
        self.count += 1;
    }

    /// `None` when there are more than [`OTHERS_MAX`].
    pub(super) fn values(&self) -> Option<&[u32]> {
        self.nodes.get(..self.count)
    }
}

impl Default for Keys {
    fn default() -> Keys {
        let others = Others { nodes: [0; OTHERS_MAX], count: 0 };
        Keys { nodes: [0; KEYS], dotted: false, others }
    }
}

impl Keys {
    pub(super) fn get(&self, key: Key) -> Option<u32> {
        Some(self.nodes[key as usize]).filter(|node| *node != 0)
    }
}
