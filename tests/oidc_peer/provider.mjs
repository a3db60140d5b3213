// An OpenID provider for tests: a certified library, with one client and people who have roles.
// It prints its issuer. Its first argument is JSON: {client, redirect, host, secret?}; a redirect is to any port (RFC 8252).
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const asked = JSON.parse(process.argv[2]);
const people = {
  'noa.berg@corp.example': { roles: ['security', 'platform', 'secops', 'app', 'auditor'] },
  'omar@corp.example': { roles: ['auditor'] },
  'nobody@corp.example': {},
};
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const server = createServer((request, response) => handle(request, response));
let handle;
server.listen(0, asked.host, () => {
  const issuer = `http://${asked.host}:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: asked.client,
        application_type: 'native',
        redirect_uris: [asked.redirect],
        grant_types: ['authorization_code'],
        response_types: ['code'],
        id_token_signed_response_alg: 'ES256',
        ...(asked.secret
          ? { client_secret: asked.secret, token_endpoint_auth_method: 'client_secret_basic' }
          : { token_endpoint_auth_method: 'none' }),
      },
    ],
    jwks: { keys: [{ ...key, kid: 'peer', alg: 'ES256', use: 'sig' }] },
    cookies: { keys: ['a key for tests'] },
    claims: { openid: ['sub', 'roles'] },
    conformIdTokenClaims: false,
    // Pages of its own, on which a person gives a name and any password, and agrees.
    features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    ttl: { IdToken: 3600, AuthorizationCode: 60, Session: 600, Interaction: 600, Grant: 600, AccessToken: 600 },
  });
  handle = provider.callback();
  console.log(JSON.stringify({ issuer }));
});
