import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Api } from './api.jsx';
import { Desk } from './desk.jsx';
import './page.css';

// Two views: what needs a person, and the API (#api).
function Page() {
  const [at, go] = useState(location.hash);
  useEffect(() => {
    const moved = () => go(location.hash);
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  return at === '#api' ? <Api /> : <Desk open={at.startsWith('#exc_') ? at.slice(1) : ''} />;
}

createRoot(document.getElementById('page')).render(<Page />);
