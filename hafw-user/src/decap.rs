//! `hafw decap`: on a backend whose kernel lacks the tunnel's device, takes datagrams out of their
//! tunnels until it is told to end.

use std::net::IpAddr;

use anyhow::Context as _;
use hafw_common::proto::{GUE_PORT, TUNNEL_SOURCE_V4, TUNNEL_SOURCE_V6};
use nix::net::if_::if_nametoindex;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::{
    datapath::{Decap, DecapSettings, XdpMode},
    net::{NetEvent, Watch},
};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct DecapArgs {
    /// Interface that tunnels come in by
    #[arg(long, value_name = "IF")]
    interface: String,
    /// UDP port of `gue` tunnels
    #[arg(long, value_name = "PORT", default_value_t = GUE_PORT)]
    gue_port: u16,
    /// Networks that tunnels may come from; default: those that hafw's and Katran's come from,
    /// 172.16.0.0/16 and 100::/64
    #[arg(long, value_name = "CIDR", num_args = 1.., value_delimiter = ',', value_parser = network)]
    from: Vec<(IpAddr, u8)>,
    /// In the stack rather than in the driver, where that has no XDP
    #[arg(long)]
    generic: bool,
}

/// Attaches the program, and detaches it on SIGINT or SIGTERM; SIGUSR1 logs what it counted.
///
/// # Errors
/// The program cannot be attached.
pub(crate) fn decap(args: DecapArgs) -> anyhow::Result<()> {
    let DecapArgs {
        interface,
        gue_port,
        from,
        generic,
    } = args;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(async {
        let settings = DecapSettings {
            mac: mac(&interface).await?,
            mode: if generic {
                XdpMode::Generic
            } else {
                XdpMode::Native
            },
            from: if from.is_empty() { usual() } else { from },
            interface,
            gue_port,
        };
        run(&settings).await
    })
}

async fn run(settings: &DecapSettings) -> anyhow::Result<()> {
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut report = signal(SignalKind::user_defined1())?;
    let attached = Decap::attach(settings)?;
    info!(
        interface = settings.interface,
        mode = settings.mode.name(),
        gue_port = settings.gue_port,
        "taking datagrams out of their tunnels"
    );
    loop {
        tokio::select! {
            _ = end.recv() => break,
            _ = interrupt.recv() => break,
            _ = report.recv() => tell(&attached)?,
        }
    }
    tell(&attached)
}

fn tell(attached: &Decap) -> anyhow::Result<()> {
    let counted: Vec<_> = attached
        .counters()?
        .into_iter()
        .map(|(counter, frames)| format!("{} {frames}", counter.name()))
        .collect();
    info!("frames: {}", counted.join(", "));
    Ok(())
}

/// The networks that tunnels of hafw and Katran come from.
fn usual() -> Vec<(IpAddr, u8)> {
    let [first, second] = TUNNEL_SOURCE_V6.map(u128::from);
    let v6 = (first << 64 | second).to_be_bytes();
    vec![(TUNNEL_SOURCE_V4.into(), 16), (v6.into(), 64)]
}

/// By netlink: /sys may be another network namespace's.
async fn mac(interface: &str) -> anyhow::Result<[u8; 6]> {
    let ifindex = if_nametoindex(interface)
        .with_context(|| format!("interface {interface:?}: there is none of this name here"))?;
    let links = Watch::open()?.snapshot().await?;
    let mac = links.iter().find_map(|event| match event {
        NetEvent::Link {
            ifindex: index,
            mac,
            ..
        } if *index == ifindex => *mac,
        NetEvent::Link { .. }
        | NetEvent::LinkGone { .. }
        | NetEvent::Neighbour { .. }
        | NetEvent::NeighbourGone { .. }
        | NetEvent::Routes
        | NetEvent::Lost => None,
    });
    mac.filter(|mac| *mac != [0; 6])
        .with_context(|| format!("interface {interface:?}: it has no Ethernet address"))
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let expected = || format!("{text:?}: expected a network such as 10.0.0.0/8 or 2001:db8::/32");
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = if length.is_empty() {
        most
    } else {
        length.parse().map_err(|_| expected())?
    };
    if length > most {
        return Err(expected());
    }
    Ok((address, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_perhaps_a_length_that_it_can_have() {
        assert_eq!(network("10.0.0.0/8"), Ok(([10, 0, 0, 0].into(), 8)));
        assert_eq!(network("10.0.0.7"), Ok(([10, 0, 0, 7].into(), 32)));
        assert_eq!(network("100::/64"), Ok((usual()[1].0, 64)));
        for wrong in ["", "10.0.0.0/33", "100::/129", "10.0.0/8", "10.0.0.0/x"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
