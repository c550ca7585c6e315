// Package woocommerce plays the REST API of a WooCommerce shop (wc/v3), as far as orders,
// refunds, products' stock and customers go: over real HTTP, with its authentication, its
// pages and its error codes, and with books that tests can look into.
//
// What it does comes from woocommerce/woocommerce: class-wc-rest-authentication.php and
// the controllers of version 3. What could not be checked there is marked "unverified".
//
// The traits that connectors stumble over, all of them here:
//
//   - Nothing is deduplicated: a second POST makes a second order. An order can be found
//     again by what its meta_data or transaction_id say, if one looks through a list: no
//     query asks for them.
//   - An order that is not there is 404 for GET and 400 for PUT, with the same code.
//   - set_paid reduces stock at once; stock is set as an absolute number, without a
//     comparison with what was there.
//   - A refund calls the payment gateway unless api_refund is false, and puts stock back
//     unless api_restock is false.
//   - Amounts are texts.
package woocommerce
