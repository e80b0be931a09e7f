// A plugin for Node with the package zeromq (npm install zeromq@6).
//
//     [plugin:deaths]
//     cmd = node examples/plugins/deaths.js
const zmq = require('zeromq');

process.on('SIGTERM', () => process.exit(0));

async function main() {
  const control = new zmq.Dealer({ linger: 0 });
  control.connect(process.env.CIRCUS_ENDPOINT);
  const events = new zmq.Subscriber();
  events.connect(process.env.CIRCUS_PUBSUB_ENDPOINT);
  events.subscribe('watcher.');
  console.log('deaths is there');
  for await (const [topic, body] of events) {
    // The watcher's name may have dots in it.
    const name = topic.toString().slice('watcher.'.length);
    const dot = name.lastIndexOf('.');
    if (name.slice(dot + 1) !== 'reap' || JSON.parse(body).exit_code >= 0) continue;
    const watcher = name.slice(0, dot);
    await control.send(JSON.stringify({ id: 'deaths', command: 'numprocesses', properties: { name: watcher } }));
    const [answer] = await control.receive();
    // circusd's log takes <4> for a warning.
    console.log(`<4>${watcher} lost a process, ${JSON.parse(answer).numprocesses} are there`);
  }
}

main();
