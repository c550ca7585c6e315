package explain

var indonesianRoles = map[Role]string{
	Catalogue: "tim katalog", Outlet: "outlet", Finance: "bagian keuangan", Inventory: "bagian stok",
	Connection: "pemilik koneksi", Owner: "pemilik usaha", Integration: "pengelola integrasi", Developer: "pengembang konektor",
}

var indonesian = map[string]words{
	unknownClass: {
		Integration, "{class} di {destination}",
		"{held} tidak dapat disampaikan ke {destination}.",
		"Jawaban platform belum ada penjelasannya di sini{about}.",
		"Buka salah satunya, baca jawaban platform, perbaiki penyebabnya di sana, lalu coba lagi.",
	},
	"SKU_UNMAPPED": {
		Catalogue, "{table} {value} belum dipetakan",
		"{held} untuk {destination} menunggu karena memuat {value}.",
		"Belum ada yang menentukan apa nama {value} di {destination}: tabel pemetaan {table} tidak memuatnya.",
		"Tambahkan ke tabel {table}. Semua yang menunggu akan terkirim sendiri, sesuai urutan.",
	},
	"MODIFIER_UNMAPPED": {
		Catalogue, "Modifier {value} belum dipetakan",
		"{held} untuk {destination} menunggu karena memakai modifier {value}.",
		"Tabel pemetaan {table} belum menentukan modifier ini di {destination}.",
		"Tambahkan ke tabel {table}, atau beri nilai bawaan bagi modifier yang tidak memerlukannya.",
	},
	"UNMAPPED": {
		Integration, "{table} {value} belum dipetakan",
		"{held} untuk {destination} menunggu karena memuat {value}.",
		"Tabel pemetaan {table} tidak memuat {value} dan tidak punya nilai bawaan.",
		"Tambahkan ke tabel {table}, atau beri nilai bawaan. Semua yang menunggu akan terkirim sendiri.",
	},
	"TAX_OUTLET_RULE": {
		Finance, "Aturan pajak atau outlet belum ada di {destination}",
		"{held} menunggu karena pajak atau outletnya tidak dikenal{about}.",
		"Pajak, akun, atau outlet itu tidak punya padanan di {destination}, atau tidak diizinkan di sana.",
		"Atur pajak atau outletnya di tabel pemetaan atau di {destination}, lalu coba lagi.",
	},
	"VALIDATION": {
		Developer, "{destination} menganggap permintaan tidak sah",
		"{destination} menolak {held}{about}.",
		"Ada yang kurang atau tidak diizinkan. Jika dikirim lagi apa adanya, akan ditolak lagi.",
		"Baca jawaban platform, perbaiki pemetaan atau datanya, lalu proses ulang.",
	},
	"PERIOD_CLOSED": {
		Finance, "Periode akuntansi di {destination} sudah ditutup",
		"{held} bertanggal dalam periode yang sudah ditutup.",
		"{destination} tidak menerima dokumen sebelum tanggal kuncinya.",
		"Buka periodenya lalu coba lagi, atau bukukan dengan tanggal lain.",
	},
	"REFERENCE_GONE": {
		Catalogue, "Ada data yang hilang di {destination}",
		"{held} merujuk ke data yang tidak ada lagi di {destination}{about}.",
		"Data itu dihapus atau digabung setelah dipetakan.",
		"Pulihkan di {destination}, atau petakan ke data lain, lalu coba lagi.",
	},
	"DUPLICATE": {
		Integration, "{destination} sudah punya",
		"Menurut {destination}, sudah ada data dengan nama yang sama untuk {held}{about}.",
		"Data itu dimasukkan manual atau oleh program lain, dan isinya tidak sama.",
		"Bandingkan keduanya di {destination}. Lewati yang ini bila yang di sana benar; bila tidak, hapus yang di sana lalu coba lagi.",
	},
	"EFFECT_EXISTS": {
		Integration, "Sudah pernah dibuat di {destination}",
		"{held} akan membuat lagi yang sudah dibuat oleh kejadian sebelumnya di {destination}.",
		"Menurut rutenya, ini pengecualian: tidak diperbarui dan tidak dilewati sendiri.",
		"Periksa yang sudah ada. Lewati yang ini, atau ubah rutenya lalu proses ulang.",
	},
	"STALE": {
		Integration, "Data di {destination} sudah berubah",
		"{held} dibuat dari versi data yang bukan lagi terbaru.",
		"Ada yang mengubahnya di {destination} pada saat yang sama, lebih dari sekali.",
		"Periksa datanya, lalu coba lagi ketika tidak ada yang mengubahnya.",
	},
	"KEY_MISUSE": {
		Developer, "Kunci idempotensi ditolak {destination}",
		"{destination} pernah melihat kunci dari {held} dengan isi lain.",
		"Permintaan berubah setelah dikirim, padahal tidak boleh di bawah kunci yang sama.",
		"Periksa di {destination} apa hasil permintaan pertama, lalu coba lagi atau lewati.",
	},
	"STOCK_CONFLICT": {
		Inventory, "Stok di {destination} tidak cukup",
		"{held} akan mengambil lebih banyak dari stok di {destination}{about}.",
		"Stok di sana tertinggal, atau ada yang terjual dua kali.",
		"Hitung stok, perbaiki di {destination}, lalu coba lagi.",
	},
	"PARTIAL": {
		Integration, "{destination} hanya menerima sebagian",
		"Sebagian baris dari {held} diterima dan sebagian ditolak{about}.",
		"Platform memeriksa setiap baris sendiri-sendiri.",
		"Periksa yang sudah diterima; masukkan sisanya secara manual, atau perbaiki lalu lewati yang ini.",
	},
	"PERMISSION": {
		Connection, "{destination} tidak mengizinkan",
		"{destination} menolak {held}: akunnya tidak boleh melakukan ini{about}.",
		"Aplikasi atau penggunanya tidak punya izin, atau izinnya dicabut.",
		"Beri izin di {destination}, lalu lanjutkan.",
	},
	"AUTH_REVOKED": {
		Connection, "Koneksi ke {destination} terputus",
		"Tidak ada lagi yang terkirim ke {destination}; {held} menunggu. Tidak ada yang hilang dan tidak ada percobaan yang terpakai.",
		"Akses dicabut, kata sandi atau kunci diganti, atau masa berlakunya habis.",
		"Hubungkan {destination} kembali. Semua yang menunggu akan lanjut sendiri.",
	},
	"AUTH_EXPIRED": {
		Connection, "Akses ke {destination} terus berakhir",
		"{destination} tidak menerima akses yang baru saja diberikannya.",
		"Jam mesin ini mungkin salah, atau aksesnya dicabut.",
		"Hubungkan {destination} kembali.",
	},
	"AUTH_EXPIRING": {
		Connection, "Koneksi ke {destination} segera berakhir",
		"Akses ke {destination} habis dalam beberapa hari bila tidak dihubungkan kembali.",
		"Platform mengakhiri koneksi setelah beberapa waktu, atau bila tidak dipakai.",
		"Hubungkan {destination} kembali sebelum itu.",
	},
	"ACCOUNT_STATE": {
		Owner, "Akun di {destination} ditangguhkan",
		"{destination} sementara tidak menerima apa pun; {held} menunggu.",
		"Akun belum dibayar, dibekukan, atau ditutup.",
		"Selesaikan dengan {destination}, lalu lanjutkan.",
	},
	"UNKNOWN_OUTCOME": {
		Integration, "Tidak diketahui apakah {destination} sudah punya",
		"{held} sudah dikirim, dan tidak ada jawaban.",
		"Koneksi putus setelah permintaan mungkin sampai. {destination} tidak mengenali pengulangan, maka tidak dikirim lagi.",
		"Periksa apakah sudah ada. Bila sudah, lewati; bila belum, coba lagi.",
	},
	"RETRIES_EXHAUSTED": {
		Integration, "{destination} terlalu sering gagal",
		"{held} sudah dicoba sebanyak, atau selama, yang diizinkan rutenya.",
		"{destination} mati atau bermasalah lebih lama dari itu.",
		"Pastikan {destination} sudah pulih, lalu coba lagi.",
	},
	"UNCLASSIFIED": {
		Integration, "Jawaban {destination} tidak dikenal aturan mana pun",
		"{held} mendapat jawaban yang belum pernah ada{about}.",
		"Bukan keberhasilan, dan bukan kegagalan yang dijelaskan aturan.",
		"Baca jawabannya, buat aturannya di konfigurasi, lalu coba lagi.",
	},
	"POISON": {
		Developer, "Sebuah kejadian tidak dapat diolah",
		"{held} tidak dapat disiapkan atau dibaca.",
		"Konektor gagal mengolahnya: datanya tidak seperti yang diharapkan, atau konektornya bermasalah.",
		"Buka kejadiannya. Perbaiki konektor atau pemetaan lalu proses ulang, atau lewati.",
	},
	"QUOTA": {
		Connection, "Kuota {destination} habis",
		"{held} menunggu sampai {destination} menerima lagi.",
		"Platform hanya mengizinkan sekian panggilan dalam satu periode.",
		"Tunggu sampai kuota diperbarui, atau perbesar kuotanya.",
	},
	"RATE_LIMITED": {
		Connection, "{destination} meminta lebih sedikit permintaan",
		"{held} menunggu karena {destination} terlalu sering dipanggil.",
		"Program lain memakai batas yang sama, atau batas di sini terlalu tinggi.",
		"Turunkan batasnya di konfigurasi, atau cari program lain itu.",
	},
	"LATE": {
		Integration, "Terlambat untuk {destination}",
		"{held} untuk {destination} belum selesai dalam waktu yang dijanjikan rutenya.",
		"Platform lambat, mati, atau dijeda, atau yang sebelumnya menunggu seseorang.",
		"Lihat apa yang ditunggu. Ini selesai sendiri bila tidak ada lagi yang terbuka.",
	},
	"SOURCE_SILENT": {
		Integration, "{source} diam",
		"{source} tidak mengirim apa pun lebih lama dari biasanya.",
		"Koneksinya putus, atau platform mematikan webhook setelah beberapa kegagalan.",
		"Periksa di platform, daftarkan lagi, dan minta kirim yang kurang. Ini selesai sendiri bila ia mengirim lagi.",
	},
	"CONFLICT": {
		Integration, "{source} mengirim isi lain dengan id yang sama",
		"{source} memakai id kejadian sebelumnya untuk hal lain. Isi pertama berlaku, yang kedua disimpan.",
		"Id di sumbernya tidak unik, atau data diubah tanpa id baru.",
		"Bandingkan keduanya. Minta sumber mengirim yang benar dengan id tersendiri.",
	},
	"UNROUTED": {
		Integration, "Tidak ada rute untuk kejadian dari {source}",
		"Kejadian dari {source} disimpan dan tidak dikirim ke mana pun.",
		"Tidak ada rute yang menerima jenisnya, atau tidak ada syarat yang cocok.",
		"Tambahkan rute lalu putar ulang, atau nyatakan bahwa tidak diperlukan.",
	},
	"QUARANTINED": {
		Developer, "Kiriman {source} tidak dapat dipahami",
		"Webhook dari {source} diterima, tetapi tidak dapat dibaca{about}.",
		"Isinya tidak seperti yang diharapkan konfigurasi sumber: format lain, atau ada kolom yang kurang.",
		"Buka salah satunya, perbaiki ekspresi sumbernya, lalu proses ulang.",
	},
}
