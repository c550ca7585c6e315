// One exception: what it is in words, whose turn it is, what it holds, and what can be done.
import { useCallback, useEffect, useState } from 'react';
import { change, data, requestId } from './ask.js';
import { age, count, money } from './words.js';

const one = `query ($id: ID!, $l: Language!) {
  exception(id: $id) {
    id class version status severity heldCount keysBlocked oldestAge openedAt reason reopened assignee command
    destination { name }
    title(language: $l) explanation(language: $l) { what why nextStep turn }
    exposure { amount currency units } turn { team role until }
    cause { code field table value suggestions { value label } }
    held(first: 20) { nodes { id version event { eventId type acceptedAt outlet references { name value } } } pageInfo { hasNextPage } }
    history { at actor action reason }
  }
}`;

export function Exception({ id, turn }) {
  const [language, setLanguage] = useState('EN');
  const [x, setX] = useState(undefined);
  const [wrong, setWrong] = useState('');
  const read = useCallback(async () => {
    try {
      setX((await data(one, { id, l: language })).exception);
    } catch (e) {
      setWrong(e.message);
    }
  }, [id, language]);
  useEffect(() => { read(); }, [read, turn]);
  if (x === undefined) return <section className="one">{wrong ? <p role="alert">{wrong}</p> : <p>Loading…</p>}</section>;
  if (x === null) return <section className="one"><p>There is no such exception.</p></section>;
  const open = x.status !== 'RESOLVED' && x.status !== 'DISMISSED';
  const e = x.explanation;
  return (
    <section className="one" aria-label={x.title}>
      <p className="languages">
        {['EN', 'ID'].map((l) => <button key={l} aria-pressed={l === language} onClick={() => setLanguage(l)}>{l === 'EN' ? 'English' : 'Indonesia'}</button>)}
      </p>
      <h2>{x.title}</h2>
      <p>{e.what}</p>
      <p>{e.why}</p>
      <p className="next">→ {e.nextStep}</p>
      <dl>
        <dt>Status</dt><dd>{x.status.toLowerCase().replace('_', ' ')}{x.turn.until && ` until ${new Date(x.turn.until).toLocaleString()}`}{x.reopened > 0 && `, came back ${count(x.reopened, 'time', 'times')}`}</dd>
        <dt>Whose turn</dt><dd>{[x.assignee, x.turn.team, e.turn].filter(Boolean).join(' · ')}</dd>
        <dt>Holds</dt><dd>{count(x.heldCount, 'delivery', 'deliveries')}{x.keysBlocked > 0 && `, ${count(x.keysBlocked, 'key', 'keys')} blocked behind`}{x.oldestAge != null && `, the oldest ${age(x.oldestAge)}`}</dd>
        {x.exposure.length > 0 && <><dt>At stake</dt><dd>{x.exposure.map(money).join(', ')}</dd></>}
        {x.reason && <><dt>First reason</dt><dd>{x.reason}</dd></>}
      </dl>
      {open && x.cause.table && <Mapping x={x} />}
      <Actions x={x} open={open} done={read} />
      {x.held.nodes.length > 0 && (
        <>
          <h3>What it holds</h3>
          <ul>{x.held.nodes.map((d) => (
            <li key={d.id}><Single delivery={d} unknown={x.class === 'UNKNOWN_OUTCOME'} done={read} /> {d.event.eventId} <small>{d.event.type}{d.event.outlet && `, ${d.event.outlet}`}{d.event.references.map((r) => `, ${r.name} ${r.value}`)}</small></li>
          ))}</ul>
          {x.held.pageInfo.hasNextPage && <p className="quiet">… and more.</p>}
        </>
      )}
      <h3>What happened to it</h3>
      <ul>{x.history.map((a, i) => (
        <li key={i}><small>{new Date(a.at).toLocaleString()}</small> {a.action.toLowerCase()}{a.actor && ` by ${a.actor}`}{a.reason && `: ${a.reason}`}</li>
      ))}</ul>
    </section>
  );
}

// Single decides about one delivery of those that are held. Where nobody knows whether the
// platform has it, whoever has looked there says so.
function Single({ delivery, unknown, done }) {
  const [told, tell] = useTold();
  const act = (name, question, type = 'DeliveryTransitionInput', more = {}) => {
    const reason = prompt(question);
    if (reason) tell(change(name, type, { requestId: requestId(), id: delivery.id, expectedVersion: delivery.version, reason, ...more }).then(done), () => 'done');
  };
  const found = () => {
    const externalId = prompt('It is there: what is it called there?');
    if (externalId) act('markDelivered', 'How was that seen?', 'MarkDeliveredInput', { externalId });
  };
  return (
    <>
      <button onClick={() => act('retryDelivery', 'Try it again: why?')}>Try again</button>
      {unknown && <button onClick={found}>It is there</button>}
      {unknown && <button onClick={() => act('sendAnyway', 'If it is there after all, it may be there twice by then. How was it seen that it is not?', 'SendAnywayInput', { acknowledgeRisk: true })}>It is not there: send it</button>}
      <button onClick={() => act('skipDelivery', 'Skip it for good: why?')}>Skip</button>
      {told}
    </>
  );
}

// Mapping says what the missing value is called; everything that waits for it goes out.
function Mapping({ x }) {
  const { table, value, suggestions } = x.cause;
  const [target, setTarget] = useState('');
  const [reason, setReason] = useState('');
  const [told, tell] = useTold();
  const save = (e) => {
    e.preventDefault();
    tell(change('setMapping', 'SetMappingInput', { requestId: requestId(), table, destination: x.destination?.name ?? null, entries: [{ value, target }], reason }, 'released'),
      (done) => `saved: ${count(done.released, 'delivery goes', 'deliveries go')} on`);
  };
  return (
    <form className="mapping" onSubmit={save}>
      <label>{value} is called <input name="target" required value={target} onChange={(e) => setTarget(e.target.value)} list="targets" /> at {x.destination?.name}</label>
      <datalist id="targets">{suggestions.map((s) => <option key={s.value} value={s.value}>{s.label}</option>)}</datalist>
      {suggestions.length > 0 && <p className="quiet">Like it: {suggestions.map((s) => <button type="button" key={s.value} onClick={() => setTarget(s.value)}>{s.value} ({s.label})</button>)}</p>}
      <label>Why <input name="reason" required maxLength="500" value={reason} onChange={(e) => setReason(e.target.value)} /></label>
      <button>Save, and let go on what waits</button>
      {told}
    </form>
  );
}

// Every action has a reason, which the timeline keeps.
function Actions({ x, open, done }) {
  const [reason, setReason] = useState('');
  const [hours, setHours] = useState('2');
  const [assignee, setAssignee] = useState('');
  const [team, setTeam] = useState('');
  const [told, tell] = useTold();
  const step = (name, more = {}, type = 'ExceptionStepInput', says = () => 'done') => {
    const input = { requestId: requestId(), id: x.id, expectedVersion: x.version, reason, ...more };
    tell(change(name, type, input, type === 'AcknowledgeExceptionInput' ? '' : 'released').then((p) => { done(); setReason(''); return p; }), says);
  };
  const released = (what) => (p) => (p.released > 0 ? `${what} ${count(p.released, 'delivery', 'deliveries')} in the background` : 'done');
  const reprocess = () => tell(
    change('reprocess', 'ReprocessInput', { requestId: requestId(), filter: { exception: x.id }, reason }, 'job { id total }').then((p) => { done(); setReason(''); return p; }),
    (p) => `job ${p.job.id} prepares ${count(p.job.total, 'delivery', 'deliveries')} again`);
  const dismiss = () => {
    if (x.heldCount === 0 || confirm(`This skips ${count(x.heldCount, 'delivery', 'deliveries')} for good.`)) step('dismissException', {}, undefined, released('skipping'));
  };
  const until = () => new Date(Date.now() + Number(hours) * 3600e3).toISOString();
  const given = () => ({ assignee: assignee || null, team: team || null });
  return (
    <form className="actions" onSubmit={(e) => e.preventDefault()}>
      <label>Why <input name="why" maxLength="500" value={reason} onChange={(e) => setReason(e.target.value)} placeholder="for whoever reads it later" /></label>
      {open ? (
        <>
          <p>
            <button disabled={!reason} onClick={() => step('retryException', {}, undefined, released('trying again'))}>Try again all that it holds</button>
            <button disabled={!reason} onClick={reprocess}>Prepare all of it again</button>
            <button disabled={!reason} onClick={() => step('resolveException')}>It is resolved</button>
            <button disabled={!reason} className="danger" onClick={dismiss}>Dismiss, and skip what it holds</button>
          </p>
          <p>
            <button disabled={!reason} onClick={() => step('acknowledgeException', { until: until() }, 'AcknowledgeExceptionInput')}>I take it up for</button>
            <input aria-label="hours" type="number" min="1" max="720" value={hours} onChange={(e) => setHours(e.target.value)} /> hours
            <button disabled={!reason} onClick={() => step('startException', {}, 'AssignExceptionInput')}>I work on it</button>
            <button disabled={!reason} onClick={() => step('commentOnException')}>Comment only</button>
          </p>
          <p>
            <button disabled={!reason || !(assignee || team)} onClick={() => step('assignException', given(), 'AssignExceptionInput')}>Give it to</button>
            <input aria-label="person" placeholder="person" value={assignee} onChange={(e) => setAssignee(e.target.value)} />
            <input aria-label="team" placeholder="team" value={team} onChange={(e) => setTeam(e.target.value)} />
          </p>
        </>
      ) : (
        <p><button disabled={!reason} onClick={() => step('reopenException')}>Open it again</button></p>
      )}
      {told}
    </form>
  );
}

// useTold shows what came of the last action, or why it was refused.
function useTold() {
  const [told, setTold] = useState(null);
  const tell = (promise, says) => promise.then((p) => setTold({ text: says(p) }), (e) => setTold({ wrong: e.message }));
  return [told && (told.wrong ? <p role="alert">{told.wrong}</p> : <p role="status">{told.text}</p>), tell];
}
