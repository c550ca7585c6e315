// What needs a person: the queue on the left, one exception on the right.
import { useCallback, useEffect, useState } from 'react';
import { change, data, feed } from './ask.js';
import { Exception } from './exception.jsx';
import { age, count, money } from './words.js';

const queue = `query ($f: ExceptionFilter!, $o: ExceptionOrder!) {
  board { acceptedToday deliveredToday late unrouted needsAction
    destinations { name breaker { state reason } paused { reason } unauthorised { reason } fault { problem } depth oldestAge drainEta } }
  exceptions(filter: $f, orderBy: $o, first: 50) {
    nodes { id class title severity status heldCount keysBlocked oldestAge exposure { amount currency units } turn { team role until } assignee }
    pageInfo { hasNextPage } }
  jobs(first: 5) { id action state total done failed rate reason actor }
}`;

const orders = { EXPOSURE_DESC: 'most at stake first', SEVERITY: 'most severe first', AGE: 'oldest first', NEWEST: 'newest first' };

export function Desk({ open }) {
  const [order, setOrder] = useState('EXPOSURE_DESC');
  const [outlet, setOutlet] = useState('');
  const [team, setTeam] = useState('');
  const [shown, setShown] = useState(null);
  const [wrong, setWrong] = useState('');
  const [turn, setTurn] = useState(0); // rises when something has changed

  const read = useCallback(async () => {
    try {
      setShown(await data(queue, { f: { open: true, outlet: outlet || null, team: team || null }, o: order }));
      setWrong('');
    } catch (e) {
      setWrong(e.message);
    }
  }, [order, outlet, team]);
  useEffect(() => { read(); }, [read, turn]);
  useEffect(() => feed.subscribe(
    { query: 'subscription { changes(topics: [BOARD, EXCEPTIONS, JOBS]) { cursor change } }' },
    { next: () => setTurn((n) => n + 1), error: () => setWrong('the live feed has ended; load the page anew'), complete: () => {} },
  ), []);

  if (!shown) return <main className="desk">{wrong ? <p role="alert">{wrong}</p> : <p>Loading…</p>}</main>;
  const { board, exceptions, jobs } = shown;
  return (
    <main className="desk">
      <header>
        <h1>Raffs Sync</h1>
        <ul className="counts">
          <li><b>{board.acceptedToday}</b> accepted today</li>
          <li><b>{board.deliveredToday}</b> delivered today</li>
          <li className={board.needsAction ? 'bad' : ''}><b>{board.needsAction}</b> need action</li>
          <li className={board.late ? 'bad' : ''}><b>{board.late}</b> late</li>
        </ul>
        <ul className="places">{board.destinations.map((d) => <Place key={d.name} {...d} />)}</ul>
        <a href="#api">API</a>
      </header>
      {wrong && <p role="alert">{wrong}</p>}
      <section className="queue" aria-label="What needs a person">
        <form onSubmit={(e) => e.preventDefault()}>
          <select aria-label="Order" value={order} onChange={(e) => setOrder(e.target.value)}>
            {Object.entries(orders).map(([o, text]) => <option key={o} value={o}>{text}</option>)}
          </select>
          <input aria-label="Outlet" placeholder="outlet" value={outlet} onChange={(e) => setOutlet(e.target.value)} />
          <input aria-label="Team" placeholder="team" value={team} onChange={(e) => setTeam(e.target.value)} />
        </form>
        {exceptions.nodes.length === 0 && <p className="quiet">Nothing needs a person{outlet || team ? ' here' : ''}.</p>}
        <ol>{exceptions.nodes.map((x) => <Line key={x.id} x={x} chosen={x.id === open} />)}</ol>
        {exceptions.pageInfo.hasNextPage && <p className="quiet">… and more: narrow it by outlet or team.</p>}
        <Jobs jobs={jobs} />
      </section>
      {open ? <Exception key={open} id={open} turn={turn} /> : <section className="one"><p className="quiet">Choose one on the left.</p></section>}
    </main>
  );
}

function Place({ name, breaker, paused, unauthorised, fault, depth, oldestAge, drainEta }) {
  const trouble = unauthorised ? 'authorisation lost' : paused ? 'paused' : fault ? 'cannot be used' : breaker.state === 'CLOSED' ? '' : 'in trouble';
  const why = [unauthorised, paused, breaker].find((c) => c?.reason)?.reason ?? fault?.problem;
  return (
    <li className={trouble ? 'bad' : ''} title={why ?? ''}>
      {name}: {trouble || 'well'}{depth > 0 && `, ${depth} open`}{oldestAge != null && depth > 0 && `, oldest ${age(oldestAge)}`}
      {drainEta && `, done by ${new Date(drainEta).toLocaleTimeString()}`}
    </li>
  );
}

function Line({ x, chosen }) {
  return (
    <li className={chosen ? 'chosen' : ''}>
      <a href={`#${x.id}`} aria-current={chosen}>
        <strong>{x.title}</strong>
        <span className={`severity ${x.severity.toLowerCase()}`}>{x.severity.toLowerCase()}</span>
        <small>
          {count(x.heldCount, 'delivery', 'deliveries')}
          {x.keysBlocked > 0 && ` · ${count(x.keysBlocked, 'key', 'keys')} blocked`}
          {x.exposure.map((e) => ` · ${money(e)}`)}
          {x.oldestAge != null && ` · oldest ${age(x.oldestAge)}`}
        </small>
        <small>Turn: {x.assignee || x.turn.team || x.turn.role.toLowerCase()}{x.turn.until && `, taken up until ${new Date(x.turn.until).toLocaleTimeString()}`}</small>
      </a>
    </li>
  );
}

function Jobs({ jobs }) {
  const [wrong, setWrong] = useState('');
  const to = (id, state) => change('changeJob', 'ChangeJobInput', { id, state, reason: 'by hand, from the console' }).then(() => setWrong(''), (e) => setWrong(e.message));
  if (jobs.length === 0) return null;
  return (
    <div className="jobs">
      <h2>Jobs</h2>
      {wrong && <p role="alert">{wrong}</p>}
      <ul>{jobs.map((j) => (
        <li key={j.id}>
          {j.action.toLowerCase()} {j.id}: {j.state.toLowerCase()} · {j.done} of {j.total} done{j.failed > 0 && `, ${j.failed} left alone`} <small>({j.actor}: {j.reason})</small>
          <progress max={j.total || 1} value={j.done + j.failed} />
          {j.state === 'RUNNING' && <button onClick={() => to(j.id, 'PAUSED')}>Pause</button>}
          {j.state === 'PAUSED' && <button onClick={() => to(j.id, 'RUNNING')}>Go on</button>}
          {(j.state === 'RUNNING' || j.state === 'PAUSED') && <button onClick={() => to(j.id, 'CANCELLED')}>Cancel</button>}
        </li>
      ))}</ul>
    </div>
  );
}
