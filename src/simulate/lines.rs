//! Events as lines of text in the shapes of four collectors, and the rendering that a source adds.

use std::fmt::Write;

use super::evtx::Rendering;
use super::shapes::{Body, Channel, FleetEvent};
use crate::time::EventTime;

/// The shape of a text line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineForm {
    Xml,
    Winlogbeat,
    Nxlog,
    Openwec,
}

/// Bits of `Keywords`: an audit of a failure, a classic event.
const FAILED: u64 = 0x10_0000_0000_0000;
const CLASSIC: u64 = 0x80_0000_0000_0000;

/// How a source renders an event in English.
#[derive(Debug)]
pub struct Rendered {
    message: String,
    level: &'static str,
    task: &'static str,
    channel: &'static str,
    provider: &'static str,
    keywords: &'static [&'static str],
}

impl Rendered {
    pub fn new(event: &FleetEvent) -> Rendered {
        let shape = &event.shape;
        let failed = shape.keywords & FAILED != 0;
        Rendered {
            message: message(event),
            level: match shape.level {
                1 => "Critical",
                2 => "Error",
                3 => "Warning",
                _ => "Information",
            },
            task: task(shape.task),
            channel: shape.channel.name(),
            provider: shape.provider.display,
            keywords: match shape.channel {
                Channel::Security if failed => &["Audit Failure"],
                Channel::Security => &["Audit Success"],
                Channel::System if shape.keywords & CLASSIC != 0 => &["Classic"],
                Channel::System => &[],
            },
        }
    }

    /// Calls `take` with the rendering in the EVTX writer's form.
    pub fn with<T>(&self, take: impl FnOnce(Rendering<'_>) -> T) -> T {
        take(Rendering {
            culture: "en-US",
            message: &self.message,
            level: self.level,
            task: self.task,
            opcode: "Info",
            channel: self.channel,
            provider: self.provider,
            keywords: self.keywords,
        })
    }
}

fn task(task: u16) -> &'static str {
    match task {
        12544 => "Logon",
        12545 => "Logoff",
        12548 => "Special Logon",
        12800 => "File System",
        12810 => "Filtering Platform Connection",
        13312 => "Process Creation",
        13824 => "User Account Management",
        13825 => "Computer Account Management",
        14336 => "Credential Validation",
        14337 => "Kerberos Service Ticket Operations",
        14339 => "Kerberos Authentication Service",
        _ => "",
    }
}

fn title(id: u16) -> &'static str {
    match id {
        12 => "The operating system started.",
        13 => "The operating system is shutting down.",
        19 => "Installation Successful: Windows successfully installed an update.",
        4624 => "An account was successfully logged on.",
        4625 => "An account failed to log on.",
        4634 => "An account was logged off.",
        4648 => "A logon was attempted using explicit credentials.",
        4663 => "An attempt was made to access an object.",
        4672 => "Special privileges assigned to new logon.",
        4688 => "A new process has been created.",
        4720 => "A user account was created.",
        4722 => "A user account was enabled.",
        4724 => "An attempt was made to reset an account's password.",
        4738 => "A user account was changed.",
        4741 => "A computer account was created.",
        4742 => "A computer account was changed.",
        4768 => "A Kerberos authentication ticket (TGT) was requested.",
        4769 => "A Kerberos service ticket was requested.",
        4771 => "Kerberos pre-authentication failed.",
        4776 => "The computer attempted to validate the credentials for an account.",
        4781 => "The name of an account was changed.",
        4798 => "A user's local group membership was enumerated.",
        5156 => "The Windows Filtering Platform has permitted a connection.",
        5719 => {
            "This computer was not able to set up a secure session with a domain controller in \
             the domain."
        }
        5805 => {
            "The session setup from a computer failed to authenticate. The following error \
             occurred: Access is denied."
        }
        6005 => "The Event log service was started.",
        6006 => "The Event log service was stopped.",
        6009 => "Microsoft (R) Windows (R) 10.00.",
        6011 => "The NetBIOS name and DNS host name of this machine have been changed.",
        6013 => "The system uptime was reported.",
        6167 => {
            "There is a partial mismatch in the machine ID. This indicates that the ticket has \
             either been manipulated or it belongs to a different boot session. Failing \
             authentication."
        }
        7036 => "A service entered another state.",
        _ => "The system time has changed.",
    }
}

/// The message: a title, and for audits a line for each field.
fn message(event: &FleetEvent) -> String {
    let mut text = title(event.shape.id).to_owned();
    if event.shape.channel == Channel::Security
        && let Body::Named(fields) = &event.shape.body
    {
        text.push_str("\r\n");
        for (name, field) in fields {
            write!(text, "\r\n\t{name}:\t\t{}", field.value().to_text())
                .expect("a string takes all text");
        }
    }
    text
}

/// Appends the event as one line with its line end.
pub fn write_line(
    out: &mut String,
    form: LineForm,
    event: &FleetEvent,
    rendered: Option<&Rendered>,
) {
    match form {
        LineForm::Xml => xml(out, event, rendered),
        LineForm::Winlogbeat => winlogbeat(out, event, rendered),
        LineForm::Nxlog => nxlog(out, event, rendered),
        LineForm::Openwec => openwec(out, event, rendered),
    }
    out.push('\n');
}

fn xml(out: &mut String, event: &FleetEvent, rendered: Option<&Rendered>) {
    xml_system(out, event);
    xml_data(out, &event.shape.body);
    if let Some(rendered) = rendered {
        rendered.with(|rendering| xml_rendering(out, &rendering));
    }
    out.push_str("</Event>");
}

/// The start tag of the event, and its `System` element.
fn xml_system(out: &mut String, event: &FleetEvent) {
    event.with_spec(None, |spec| {
        out.push_str(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>",
        );
        out.push_str("<Provider Name='");
        escape_xml(out, spec.provider);
        if let Some(guid) = provider_guid(event) {
            out.extend(["' Guid='", &guid]);
        }
        if let Some(name) = spec.event_source_name {
            out.extend(["' EventSourceName='", name]);
        }
        out.push_str("'/><EventID");
        if let Some(number) = spec.qualifiers {
            put(out, format_args!(" Qualifiers='{number}'"));
        }
        put(
            out,
            format_args!(
                ">{}</EventID><Version>{}</Version><Level>{}</Level><Task>{}</Task>\
                 <Opcode>{}</Opcode><Keywords>{:#x}</Keywords><TimeCreated SystemTime='{}'/>\
                 <EventRecordID>{}</EventRecordID><Correlation/>\
                 <Execution ProcessID='{}' ThreadID='{}'/><Channel>{}</Channel>\
                 <Computer>{}</Computer>",
                spec.event_id,
                spec.version,
                spec.level,
                spec.task,
                spec.opcode,
                spec.keywords,
                spec.time,
                spec.record_id,
                spec.process_id,
                spec.thread_id,
                spec.channel,
                spec.computer,
            ),
        );
        match spec.user {
            Some(sid) => put(out, format_args!("<Security UserID='{sid}'/></System>")),
            None => out.push_str("<Security/></System>"),
        }
    });
}

fn xml_data(out: &mut String, body: &Body) {
    match body {
        Body::Empty => {}
        Body::Named(fields) => {
            out.push_str("<EventData>");
            for (name, field) in fields {
                out.extend(["<Data Name='", name, "'>"]);
                escape_xml(out, &field.value().to_text());
                out.push_str("</Data>");
            }
            out.push_str("</EventData>");
        }
        Body::Unnamed(texts, binary) => {
            out.push_str("<EventData>");
            for text in texts {
                out.push_str("<Data>");
                escape_xml(out, text);
                out.push_str("</Data>");
            }
            if let Some(binary) = binary {
                put(out, format_args!("<Binary>{}</Binary>", hex(binary)));
            }
            out.push_str("</EventData>");
        }
    }
}

fn xml_rendering(out: &mut String, rendering: &Rendering<'_>) {
    put(out, format_args!("<RenderingInfo Culture='{}'>", rendering.culture));
    for (name, text) in [
        ("Message", rendering.message),
        ("Level", rendering.level),
        ("Task", rendering.task),
        ("Opcode", rendering.opcode),
        ("Channel", rendering.channel),
        ("Provider", rendering.provider),
    ] {
        out.extend(["<", name, ">"]);
        escape_xml(out, text);
        out.extend(["</", name, ">"]);
    }
    out.push_str("<Keywords>");
    for keyword in rendering.keywords {
        out.extend(["<Keyword>", keyword, "</Keyword>"]);
    }
    out.push_str("</Keywords></RenderingInfo>");
}

/// winlogbeat 8: the id is text, unnamed data are `param1` and so on.
fn winlogbeat(out: &mut String, event: &FleetEvent, rendered: Option<&Rendered>) {
    let shape = &event.shape;
    let mut top = Object::open(out);
    top.text("@timestamp", &event.time.to_string());
    top.object("@metadata", |meta| {
        meta.text("beat", "winlogbeat");
        meta.text("type", "_doc");
        meta.text("version", "8.15.0");
    });
    top.object("event", |inner| {
        inner.text("code", &shape.id.to_string());
        inner.text("kind", "event");
        inner.text("provider", shape.provider.name);
        if shape.channel == Channel::Security {
            let failed = shape.keywords & FAILED != 0;
            inner.text("outcome", if failed { "failure" } else { "success" });
        }
        inner.text("created", &received(event).to_string());
    });
    top.object("host", |host| host.text("name", &event.computer));
    let level = rendered.map_or("information".to_owned(), |rendered| rendered.level.to_lowercase());
    top.object("log", |log| log.text("level", if shape.level == 2 { "error" } else { &level }));
    if let Some(rendered) = rendered {
        top.text("message", &rendered.message);
    }
    top.object("winlog", |winlog| {
        winlog.text("channel", shape.channel.name());
        winlog.text("computer_name", &event.computer);
        winlog.text("event_id", &shape.id.to_string());
        winlog.text("provider_name", shape.provider.name);
        if let Some(guid) = provider_guid(event) {
            winlog.text("provider_guid", &guid);
        }
        winlog.raw("record_id", event.record_id);
        winlog.text("api", "wineventlog");
        if let Some(rendered) = rendered {
            winlog.text("task", rendered.task);
            winlog.text("opcode", "Info");
            winlog.list("keywords", rendered.keywords);
        }
        winlog.object("process", |process| {
            process.raw("pid", shape.process_id);
            process.object("thread", |thread| thread.raw("id", 100));
        });
        if shape.version > 0 {
            winlog.raw("version", shape.version);
        }
        if let Some(user) = shape.user {
            winlog.object("user", |inner| inner.text("identifier", &user.sid().to_string()));
        }
        match &shape.body {
            Body::Empty => {}
            Body::Named(fields) => winlog.object("event_data", |data| {
                for (name, field) in fields {
                    data.text(name, &field.value().to_text());
                }
            }),
            Body::Unnamed(texts, binary) => winlog.object("event_data", |data| {
                for (number, text) in (1..).zip(texts) {
                    data.text(&format!("param{number}"), text);
                }
                if let Some(binary) = binary {
                    data.text("Binary", &hex(binary));
                }
            }),
        }
    });
    top.close();
}

/// NXLog's flat objects, with times as OpenWEC writes them in this shape.
fn nxlog(out: &mut String, event: &FleetEvent, rendered: Option<&Rendered>) {
    let shape = &event.shape;
    let mut top = Object::open(out);
    top.text("EventTime", &event.time.to_string());
    top.text("Hostname", &event.computer);
    top.raw("Keywords", shape.keywords as i64);
    let (kind, severity, value) = match (shape.channel, shape.level) {
        (Channel::Security, _) if shape.keywords & FAILED != 0 => ("AUDIT_FAILURE", "ERROR", 4),
        (Channel::Security, _) => ("AUDIT_SUCCESS", "INFO", 2),
        (Channel::System, 2) => ("ERROR", "ERROR", 4),
        (Channel::System, 3) => ("WARNING", "WARNING", 3),
        (Channel::System, _) => ("INFO", "INFO", 2),
    };
    top.text("EventType", kind);
    top.raw("SeverityValue", value);
    top.text("Severity", severity);
    top.raw("EventID", shape.id);
    top.text("SourceName", shape.provider.name);
    if let Some(guid) = provider_guid(event) {
        top.text("ProviderGuid", &guid.to_uppercase());
    }
    top.raw("Version", shape.version);
    top.raw("Task", shape.task);
    top.raw("OpcodeValue", 0);
    top.raw("RecordNumber", event.record_id);
    top.raw("ProcessID", shape.process_id);
    top.raw("ThreadID", 100);
    top.text("Channel", shape.channel.name());
    if let Some(user) = shape.user {
        top.text("UserID", &user.sid().to_string());
    }
    if let Some(rendered) = rendered {
        top.text("Message", &rendered.message);
        top.text("Category", rendered.task);
        top.text("Opcode", "Info");
    }
    match &shape.body {
        Body::Empty => {}
        Body::Named(fields) => {
            for (name, field) in fields {
                top.text(name, &field.value().to_text());
            }
        }
        Body::Unnamed(texts, binary) => {
            for (number, text) in texts.iter().enumerate() {
                match number {
                    0 => top.text("Data", text),
                    _ => top.text(&format!("Data_{number}"), text),
                }
            }
            if let Some(binary) = binary {
                top.text("Binary", &hex(binary));
            }
        }
    }
    top.text("EventReceivedTime", &received(event).to_string());
    top.text("SourceModuleName", "in");
    top.text("SourceModuleType", "im_msvistalog");
    top.close();
}

fn openwec(out: &mut String, event: &FleetEvent, rendered: Option<&Rendered>) {
    let shape = &event.shape;
    let mut top = Object::open(out);
    top.object("System", |system| {
        system.object("Provider", |provider| {
            provider.text("Name", shape.provider.name);
            if let Some(guid) = provider_guid(event) {
                provider.text("Guid", &guid);
            }
            if let Some(name) = shape.provider.source {
                provider.text("EventSourceName", name);
            }
        });
        system.raw("EventID", shape.id);
        if let Some(qualifiers) = shape.provider.qualifiers {
            system.raw("EventIDQualifiers", qualifiers);
        }
        system.raw("Version", shape.version);
        system.raw("Level", shape.level);
        system.raw("Task", shape.task);
        system.raw("Opcode", 0);
        system.text("Keywords", &format!("{:#x}", shape.keywords));
        system.text("TimeCreated", &event.time.to_string());
        system.raw("EventRecordID", event.record_id);
        system.object("Correlation", |_| {});
        system.object("Execution", |execution| {
            execution.raw("ProcessID", shape.process_id);
            execution.raw("ThreadID", 100);
        });
        system.text("Channel", shape.channel.name());
        system.text("Computer", &event.computer);
        if let Some(user) = shape.user {
            system.text("UserID", &user.sid().to_string());
        }
    });
    match &shape.body {
        Body::Empty => {}
        Body::Named(fields) => top.object("EventData", |data| {
            for (name, field) in fields {
                data.text(name, &field.value().to_text());
            }
        }),
        Body::Unnamed(texts, binary) => top.object("EventData", |data| {
            // It leaves out what is empty.
            let texts: Vec<&str> =
                texts.iter().map(|text| &**text).filter(|text| !text.is_empty()).collect();
            if !texts.is_empty() {
                data.list("Data", &texts);
            }
            if let Some(binary) = binary {
                data.text("Binary", &hex(binary));
            }
        }),
    }
    if let Some(rendered) = rendered {
        top.object("RenderingInfo", |info| {
            info.text("Message", &rendered.message);
            info.text("Level", rendered.level);
            info.text("Task", rendered.task);
            info.text("Opcode", "Info");
            info.text("Channel", rendered.channel);
            info.text("Provider", rendered.provider);
            info.list("Keywords", rendered.keywords);
            info.text("Culture", "en-US");
        });
    }
    top.object("OpenWEC", |own| {
        own.text("IpAddress", "192.0.2.10");
        own.text("TimeReceived", &received(event).to_string());
        own.text("Client", &event.computer);
        own.object("Subscription", |subscription| {
            subscription.text("Uuid", "8B18D83D-2964-4F35-AC3B-6F4E6FFA727B");
            subscription.text("Version", "AD0D118F-31EF-4111-A0CA-D87249747278");
            subscription.text("Name", "Simulated");
        });
    });
    top.close();
}

/// A time of receipt soon after the event; nothing depends on it.
fn received(event: &FleetEvent) -> EventTime {
    event.time.plus_ticks(2_500_000)
}

fn provider_guid(event: &FleetEvent) -> Option<String> {
    event.shape.provider.guid.map(|guid| super::evtx::TypedValue::Guid(guid).to_text().into_owned())
}

fn hex(bytes: &[u8]) -> String {
    super::evtx::TypedValue::Binary(bytes).to_text().into_owned()
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all text");
}

/// Text in an element or attribute, on one line.
fn escape_xml(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&', '\'', '"', '\r', '\n', '\t']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'\'' => "&apos;",
            b'"' => "&quot;",
            b'\r' => "&#13;",
            b'\n' => "&#10;",
            _ => "&#9;",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// A JSON object, written key by key.
struct Object<'o> {
    out: &'o mut String,
    first: bool,
}

impl<'o> Object<'o> {
    fn open(out: &'o mut String) -> Object<'o> {
        out.push('{');
        Object { out, first: true }
    }

    fn close(self) {
        self.out.push('}');
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        escape_json(self.out, key);
        self.out.push(':');
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        escape_json(self.out, text);
    }

    fn raw(&mut self, key: &str, number: impl std::fmt::Display) {
        self.key(key);
        put(self.out, format_args!("{number}"));
    }

    fn list(&mut self, key: &str, texts: &[&str]) {
        self.key(key);
        self.out.push('[');
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            escape_json(self.out, text);
        }
        self.out.push(']');
    }

    fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        let mut inner = Object::open(self.out);
        fill(&mut inner);
        inner.close();
    }
}

fn escape_json(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => put(out, format_args!("\\u{other:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}
