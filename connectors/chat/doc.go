// Package chat tells people something in a chat: one POST of {"text": …} to an incoming
// webhook, as Slack, Mattermost, Rocket.Chat and Google Chat take it.
//
// # Settings
//
//	url  https, or a reference to it (env:, file:): whoever knows it can post
//
// Such webhooks know no keys. A request of unknown outcome is sent again all the same: of
// a notice, twice is better than never.
package chat
