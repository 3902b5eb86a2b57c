//! A VMM that only speaks Firecracker's API, and a guest that is only a network stack: it takes a lease, answers ARP, and
//! says over HTTP that it is well. All that goldsmith does for a VM is real; what is missing is the machine.

use crate::Result;
use serde_json::Value;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Medium, TunTapInterface, wait};
use smoltcp::socket::{dhcpv4, tcp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpCidr};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};

/// The port of the agent in goldsmith's images.
const AGENT: u16 = 8080;
const HEALTHY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
/// How many connections the guest takes at once.
const CONNECTIONS: usize = 4;

/// Answers at the socket `api` until it is told to press Ctrl-Alt-Del.
pub fn run(api: &str) -> Result<()> {
    let listener = UnixListener::bind(api)?;
    let mut machine = BTreeMap::new();
    for stream in listener.incoming() {
        let mut stream = stream?;
        let (path, body) = request(&stream)?;
        let answer = match (path.as_str(), body.get("action_type").and_then(Value::as_str)) {
            ("/version", _) => r#"{"firecracker_version":"1.16.0"}"#,
            ("/", _) => r#"{"state":"Running"}"#,
            ("/actions", Some("InstanceStart")) => {
                let nic: &Value = machine.get("/network-interfaces/nic").ok_or("a machine without a NIC")?;
                let text = |key| nic.get(key).and_then(Value::as_str).map(str::to_owned).ok_or("a NIC without a name");
                let (tap, mac) = (text("host_dev_name")?, text("guest_mac")?);
                println!("Linux version: none, this is a stand-in");
                std::thread::spawn(move || guest(&tap, &mac).unwrap_or_else(|error| println!("{error}")));
                ""
            }
            ("/actions", _) => return Ok(()),
            _ => {
                machine.insert(path, body);
                ""
            }
        };
        let status = if answer.is_empty() {
            "204 No Content".to_owned()
        } else {
            format!("200 OK\r\nContent-Length: {}", answer.len())
        };
        stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n{answer}").as_bytes())?;
    }
    Ok(())
}

/// Reads a request's path and its body.
fn request(stream: &UnixStream) -> Result<(String, Value)> {
    let mut lines = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    lines.read_line(&mut line)?;
    let path = line.split(' ').nth(1).ok_or("no path")?.to_owned();
    while !line.trim().is_empty() {
        line.clear();
        lines.read_line(&mut line)?;
        if let Some((_, value)) = line.split_once("Content-Length: ") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    Ok((path, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? }))
}

/// What a guest does on its NIC.
fn guest(tap: &str, mac: &str) -> Result<()> {
    let mut address = [0; 6];
    for (byte, text) in address.iter_mut().zip(mac.split(':')) {
        *byte = u8::from_str_radix(text, 16)?;
    }
    let mut device = TunTapInterface::new(tap, Medium::Ethernet)?;
    let mut config = Config::new(EthernetAddress(address).into());
    let [.., a, b, c, d] = address;
    config.random_seed = u32::from_be_bytes([a, b, c, d]).into();
    let mut interface = Interface::new(config, &mut device, Instant::now());
    let mut sockets = SocketSet::new(Vec::new());
    let mut lease = dhcpv4::Socket::new();
    // A bridge passes nothing on until it has seen the carrier, for up to a second: the first question may be lost.
    let mut retries = dhcpv4::RetryConfig::default();
    retries.discover_timeout = Duration::from_secs(1);
    lease.set_retry_config(retries);
    let lease = sockets.add(lease);
    let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
    let agents: Vec<_> = (0..CONNECTIONS).map(|_| sockets.add(tcp::Socket::new(buffer(), buffer()))).collect();
    loop {
        interface.poll(Instant::now(), &mut device, &mut sockets);
        if let Some(dhcpv4::Event::Configured(config)) = sockets.get_mut::<dhcpv4::Socket>(lease).poll() {
            interface.update_ip_addrs(|addresses| {
                addresses.clear();
                let _ = addresses.push(IpCidr::Ipv4(config.address));
            });
        }
        for agent in &agents {
            let socket = sockets.get_mut::<tcp::Socket>(*agent);
            if !socket.is_open() {
                socket.listen(AGENT)?;
            }
            if socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), ()))?;
                socket.send_slice(HEALTHY)?;
                socket.close();
            }
        }
        let now = Instant::now();
        let delay = interface.poll_delay(now, &sockets).unwrap_or(Duration::from_secs(1));
        wait(device.as_raw_fd(), Some(delay.min(Duration::from_secs(1))))?;
    }
}
