"""Terms of pathology captions, version 2: organs, tissues, diagnoses, kinds of cells and of architecture.

A line is a canonical term, and after a colon other forms of it, separated by commas; a term may have several lines. Every form
also matches with a plural ending.
"""

TERMS: dict[str, str] = {
    "organ": """
        adrenal gland: adrenal
        appendix: appendiceal
        bladder: urothelium, urothelial
        bone: osseous, bony
        bone marrow
        brain: cerebral, cerebellum, cerebellar, neuropil, glial
        breast: mammary
        bronchus: bronchial, bronchi, bronchiole, bronchiolar
        cervix: cervical, endocervical
        colon: colonic, colorectal, bowel, large intestine
        duodenum: duodenal
        esophagus: esophageal, oesophagus, oesophageal
        gallbladder
        heart: cardiac, myocardium, myocardial
        kidney: renal
        larynx: laryngeal
        liver: hepatic
        lung: pulmonary
        lymph node: nodal
        omentum: omental, peritoneum, peritoneal
        ovary: ovarian
        pancreas: pancreatic
        pituitary
        placenta: placental, chorion
        prostate: prostatic
        rectum: rectal
        salivary gland: parotid
        skin: cutaneous, dermis, dermal, epidermis, epidermal
        small intestine: jejunum, ileum, ileal, jejunal
        spleen: splenic
        stomach: gastric
        testis: testicular
        thymus: thymic
        thyroid
        uterus: uterine, endometrium, endometrial, myometrium
    """,
    "tissue": """
        adipose tissue: adipose, fat, fatty tissue
        amyloid
        blood
        cartilage: cartilaginous
        collagen: collagenous, collagen-rich
        colloid
        connective tissue: connective
        epithelium: epithelial
        debris
        extracellular matrix: matrix
        fibrin: fibrinous
        fibrous tissue: fibrous, fibrocollagenous, fibroconnective
        glandular tissue: gland, glandular, acinus, acini, acinar
        interstitium: interstitial
        keratin: keratinization, keratinized, keratin pearl
        lamina propria
        lymphoid tissue: lymphoid follicle, lymphoid
        mucin: mucinous, mucus
        lipid: lipid droplet
        mucosa: mucosal
        muscle: muscular, skeletal muscle
        nerve: neural
        septum: septa, septal
        smooth muscle: muscularis, muscularis propria
        stroma: stromal
        submucosa: submucosal
        vessel: blood vessel, capillary, capillaries, vascular, vasculature
    """,
    "diagnosis": """
        abscess
        anthracosis: anthracotic
        cholesteatoma
        chorioamnionitis
        melanosis
        molluscum contagiosum
        oncocytoma
        parasite: giardiasis, giardia, isospora, enterobius, parasitic
        adenocarcinoma
        adenoma: adenomatous
        atrophy: atrophic
        atypia: atypical
        benign: non-neoplastic, non-malignant
        calcification: calcified
        carcinoma in situ: dcis, in situ
        carcinoma: carcinomatous
        celiac disease
        cholecystitis
        cirrhosis: cirrhotic
        colitis
        congestion
        crohn disease: crohn's disease
        cyst: cystic
        dysplasia: dysplastic
        edema: oedema, edematous, oedematous
        endometriosis
        erosion: eroded
        fibroadenoma
        fibrosis: fibrotic
        gastritis
        glioblastoma
        glioma: astrocytoma, oligodendroglioma
        granular cell tumor
        granuloma: granulomatous
        hamartoma: hamartomatous
        hemorrhage: haemorrhage, bleeding, hemorrhagic, haemorrhagic
        hepatitis
        hepatocellular carcinoma
        high-grade: high grade
        hyperplasia: hyperplastic
        hodgkin lymphoma
        hypertrophy: hypertrophic
        infection: infectious
        infiltrate: infiltration, infiltrated, infiltrative
        inflammation: inflammatory, inflamed
        invasion: invasive, infiltrating
        ischemia: ischemic, ischaemia, ischaemic
        leiomyoma
        leiomyosarcoma
        lesion
        lipoma
        liposarcoma
        low-grade: low grade
        lymphoma
        malignancy: malignant, cancer, cancerous
        melanoma
        meningioma
        mesothelioma
        metaplasia: metaplastic
        mass
        metastasis: metastatic, metastases
        necrosis: necrotic
        neoplasm: neoplastic, neoplasia, tumor, tumour, tumoral, tumoural
        nephritis: glomerulonephritis
        neuroendocrine tumor: neuroendocrine, carcinoid, wdnet
        papilloma
        pneumonia
        polyp: polypoid
        proliferation: proliferative, proliferating
        renal cell carcinoma: rcc
        sarcoma: sarcomatoid
        schwannoma
        seminoma
        squamous cell carcinoma
        steatosis: steatotic
        teratoma
        thrombus: thrombosis
        ulcer: ulceration, ulcerated
        urothelial carcinoma
    """,
    "cell": """
        adipocyte: fat cell
        endothelial cell: endothelial, endothelium
        eosinophil
        epithelial cell
        fibroblast: myofibroblast
        giant cell: multinucleated, multinucleated giant cell
        goblet cell
        hepatocyte
        lymphocyte: lymphocytic
        macrophage: histiocyte, foamy macrophage
        mesenchymal cell: mesenchymal
        mononuclear cell: mononuclear
        neuron
        neutrophil: neutrophilic
        plasma cell
        pneumocyte
        red blood cell: erythrocyte
        signet ring cell
        spindle cell: spindle-shaped, spindle-shaped cell, spindle
        squamous cell: squamous
        stromal cell
        tumor cell: tumour cell, neoplastic cell, malignant cell, cancer cell
    """,
    "architecture": """
        alveolus: alveolar, alveoli
        basophilia: basophilic
        basally oriented nucleus: basally oriented, basally located
        bundle
        chromatin
        clear cytoplasm: clear cell
        cluster: clustered
        columnar
        crowding: crowded
        cytoplasm: cytoplasmic
        cribriform
        crypt
        cuboidal
        desmoplasia: desmoplastic
        disorganized architecture: disorganized, disorganised, disorganization, disrupted architecture, disrupted
        disorganized architecture: architectural distortion, distorted, distortion, disruption
        disorganized architecture: distorted architecture
        duct: ductal, duct-like
        enlarged nucleus: enlarged nuclei
        eosinophilia: eosinophilic, pink-staining, pink-stained
        eosinophilic cytoplasm
        fascicle: fascicular, interlacing bundle
        follicle: follicular, thyroid follicle
        glomerulus: glomeruli, glomerular
        high cellularity: hypercellular, increased cellularity, densely cellular, densely packed
        hyperchromasia: hyperchromatic, hyperchromatic nucleus, hyperchromatic nuclei
        increased nuclear-to-cytoplasmic ratio: nuclear-to-cytoplasmic ratio, nucleus-to-cytoplasm ratio, n/c ratio
        increased nuclear-to-cytoplasmic ratio: high nuclear-to-cytoplasmic ratio
        lobule: lobular, lobulated
        lumen: luminal, lumina
        mitosis: mitoses, mitotic, mitotic figure, mitotic activity
        myxoid
        nest: nested
        nucleolus: nucleoli, prominent nucleoli, prominent nucleolus
        papillary: papilla, papillae
        pleomorphism: pleomorphic, nuclear pleomorphism
        sheet
        sinusoid: sinusoidal
        stratification: stratified, pseudostratified
        trabecula: trabeculae, trabecular
        tubule: tubular
        vacuole: vacuolated, vacuolation
        villus: villi, villous
        well-differentiated: well differentiated
        poorly differentiated: poorly-differentiated, undifferentiated
    """,
    "condition": """
        normal: normal-appearing, normal-looking, unremarkable, healthy, within normal limits
    """,
}

DENIALS = (
    "no", "not", "without", "absence of", "lack of", "lacks", "lacking", "negative for", "free of", "free from",
    "nor", "neither", "rather than", "ruled out", "devoid of", "excludes", "excluding", "rules out", "instead of",
)  # fmt: skip
"""Deny the terms after them in their statement, but for organs and for what stands behind "normal"."""

DENIALS_AFTER = (
    "is absent", "are absent", "not seen", "not observed", "not identified", "not evident", "not present", "not apparent",
    "not noted", "not detected", "not found", "is lacking", "are lacking", "is excluded", "is unlikely",
    "are not visible", "is not visible",
)  # fmt: skip
"""Deny the terms before them in their statement, but for organs."""

CLAUSE_ENDS = (
    "but", "however", "although", "though", "while", "whereas", "which", "except", "yet", "with", "suggest", "suggests",
    "suggesting", "indicate", "indicates", "indicating", "support", "supports", "supporting",
    "in the", "within the", "in this", "in these", "within this", "within these", "of this", "of these",
    "confirm", "confirms", "confirming", "affirm", "affirms", "implies", "implying", "characterized", "characterised", "favors",
    "favoring", "consistent", "indicative", "suggestive",
)  # fmt: skip
"""Begin another clause, which nothing before them governs."""
